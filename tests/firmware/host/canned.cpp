// Answers without a server.
#include <cstdio>

#include "device.h"

Canned canned;

int Canned::answer(const std::string &uri, const std::string &lines, std::map<std::string, std::string> &headers, int &size) {
  constexpr int OK = 200, PARTIAL = 206, NOT_MODIFIED = 304;
  unsigned first = 0;
  const size_t range = lines.find("Range: bytes=");
  from = 0;
  headers["X-Otaseal-Capabilities"] = capabilities;
  headers["ETag"] = tag;
  size = static_cast<int>(body.size());
  if (uri.find("/" + file) == std::string::npos) return NOT_MODIFIED;
  if (tag.empty() || range == std::string::npos || lines.find("If-Range: " + tag + "\r\n") == std::string::npos) return OK;
  sscanf(lines.c_str() + range, "Range: bytes=%u-", &first);
  if (first >= body.size()) return 416;
  from = first;
  size = static_cast<int>(body.size() - from);
  headers["Content-Range"] = "bytes " + std::to_string(first) + "-" + std::to_string(body.size() - 1) + "/" + std::to_string(body.size());
  return PARTIAL;
}
