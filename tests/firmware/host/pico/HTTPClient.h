#pragma once
#include <ESP8266HTTPClient.h>
