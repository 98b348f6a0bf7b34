// mod_dir: the missing slash, DirectoryIndex. Source  httpd 2.4 manual, mod_dir
#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

Verdict Fixup(RequestState& state) {
  if (!S_ISDIR(state.info.st_mode) || !state.handler.empty()) return Verdict::Declined();
  if (!state.path.ends_with('/')) {
    if (state.is_subrequest()) return Verdict::Declined();
    std::string location = http::EscapePath(state.path) + "/";
    if (state.has_query) location += "?" + state.query;
    return RedirectTo(state, 301, location);
  }
  int failed = 0;
  for (const std::string& name : state.settings->directory_index) {
    if (name == "disabled") continue;
    auto found = state.engine->LookUp(state, state.has_query ? name + "?" + state.query : name);
    if (found->status != 200) {
      if (found->status != 404) failed = found->status;
      continue;
    }
    if (!S_ISREG(found->info.st_mode) || !found->path_info.empty()) continue;
    state.engine->Become(state, std::move(found));
    return Verdict::Done();
  }
  return failed == 0 ? Verdict::Declined() : Verdict::Status(failed);
}

}  // namespace

const Module kDir = {.name = {"mod_dir.c", "dir_module"}, .always = true, .fixup = Fixup};

}  // namespace httpd::modules
