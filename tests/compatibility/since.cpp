// Of the core's stand-in, what the host of a kept library has no body for: such a library never calls it.
#include <FS.h>

namespace fs {

void File::flush() {}

}  // namespace fs
