#include "httpd/modules/request_state.h"

#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/modules/module.h"

namespace httpd::modules {

void RequestState::Start(Engine* new_engine, const net::Request& new_request, const CompiledHost& new_host,
                         net::Response& new_response) {
  engine = new_engine;
  request = &new_request;
  response = &new_response;
  host = &new_host;
  host_index = 0;
  user_agent_address.clear();
  settings = nullptr;
  path.clear();
  query.clear();
  has_query = false;
  file.clear();
  path_info.clear();
  root.clear();
  url_root.clear();
  info = {};
  media_type.clear();
  charset.clear();
  encodings.clear();
  languages.clear();
  handler.clear();
  user.clear();
  auth_type.clear();
  environment.Clear();
  first_environment.reset();
  notes.clear();
  request_id.clear();
  parent = nullptr;
  status = 200;
  redirects = 0;
  error_status = 0;
  original_path.clear();
  is_success = false;
  etag_suffix.clear();
  ignore_ranges = false;
  is_edited_ = false;
  texts_.clear();
  local_address_.clear();
}

void RequestState::Edit() {
  if (is_edited_) return;
  edited_ = *request->head;
  is_edited_ = true;
}

void RequestState::RemoveHeader(std::string_view name) {
  if (Header(name).data() == nullptr) return;
  Edit();
  std::erase_if(edited_.fields,
                [name](const http::HeaderField& field) { return http::EqualsIgnoreCase(field.name, name); });
  http::IndexKnown(edited_);
}

void RequestState::AddHeader(std::string_view name, std::string_view value) {
  Edit();
  const std::string& own_name = texts_.emplace_back(name);
  const std::string& own_value = texts_.emplace_back(value);
  edited_.fields.push_back({own_name, own_value});
  http::IndexKnown(edited_);
}

void RequestState::SetHeader(std::string_view name, std::string_view value) {
  const std::string kept(value);  // may be a view of what goes now
  RemoveHeader(name);
  AddHeader(name, kept);
}

const std::string& RequestState::LocalAddress() {
  if (local_address_.empty()) local_address_ = LocalAddressOf(*request);
  return local_address_;
}

}  // namespace httpd::modules
