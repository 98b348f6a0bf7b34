#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "os/clock.h"
#include "rotatelogs/report.h"

namespace rotatelogs {

/// `status`, `why SEGMENT`, `retry SEGMENT...`. @return exit status: 0, 1 no such segment, 3 ledger
int ShowStatus(const std::filesystem::path& ledger, bool json, const Say& say, const Say& complain);
int ShowWhy(const std::filesystem::path& ledger, const std::filesystem::path& segment, os::Clock& clock, const Say& say,
            const Say& complain);
int Retry(const std::filesystem::path& ledger, const std::vector<std::string>& segments, const Say& say,
          const Say& complain);

}  // namespace rotatelogs
