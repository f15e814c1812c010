// The name sketches know the TLS client by.
#pragma once
#include "WiFiClientSecureBearSSL.h"

using namespace BearSSL;
