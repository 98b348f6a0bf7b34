#pragma once

#include <string>

#include "httpd/config/reader.h"
#include "httpd/config/tree.h"
#include "os/error.h"

namespace httpd::config {

/// The configuration as it was read, as the text of one file: variables expanded, includes and conditions gone, -C and
/// -c directives in it, `# FILE:LINE` comments that say where each part came from. Paths stay as they were written,
/// relative to ServerRoot.
///
/// Read again with the same -d and -D, and without -C and -c, it gives the same effective configuration, whatever
/// became of the files meanwhile: that is what an instance is started from again.
///
/// @return kInvalid: a directive holds a newline (out of an environment variable), which no file can say
os::Result<std::string> Flatten(const Tree& tree, const ReadRequest& request, const FileSource& files);

}  // namespace httpd::config
