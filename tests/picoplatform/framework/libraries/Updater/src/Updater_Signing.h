// A build that verifies updates puts its own file of this name earlier in the search path. By default: no signing.
#define ARDUINO_SIGNING 0
