#pragma once

#include <string>

namespace rotatelogs {

/// What a file is, whatever it is called: file system, inode and birth time (modification time and size where the file
/// system knows no birth). A renamed segment keeps it, a reused inode does not inherit it. 32 hexadecimal digits.
std::string IdentityOf(int fd);

}  // namespace rotatelogs
