// UDP.
#pragma once

class WiFiUDP {
 public:
  static void stopAll() {}
};
