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
  settings_owner.reset();
  settings = nullptr;
  path.clear();
  pass_path.clear();
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
  name_parts.clear();
  input_filters.clear();
  output_filters.clear();
  handler.clear();
  proxy_url.clear();
  proxy_worker.reset();
  user.clear();
  auth_type.clear();
  needs_user = false;
  is_admitted = false;
  environment.Clear();
  first_environment.reset();
  notes.clear();
  request_id.clear();
  connection_id.clear();
  is_noted = false;
  parent = nullptr;
  status = 200;
  own_response.reset();
  redirects = 0;
  error_status = 0;
  original_path.clear();
  is_success = false;
  is_from_file = false;
  etag_suffix.clear();
  list_validator.clear();
  ignore_ranges = false;
  gave_up = false;
  is_edited_ = false;
  texts_.clear();
  local_address_.clear();
}

RequestState* StatePool::Take() {
  if (free_.empty()) {
    auto* made = new RequestState;
    made->pool_ = weak_from_this();
    return made;
  }
  RequestState* out = free_.back().release();
  free_.pop_back();
  return out;
}

void RequestState::Release() {
  const std::shared_ptr<StatePool> pool = pool_.lock();
  if (!pool || pool->free_.size() >= StatePool::kMostKept) {
    delete this;
    return;
  }
  settings_owner.reset();
  proxy_worker.reset();
  settings = nullptr;
  pool->free_.emplace_back(this);
}

void RequestState::Rebind(const net::Request& new_request, net::Response& new_response) {
  request = &new_request;
  response = &new_response;
  if (!is_edited_) return;
  std::vector<http::HeaderField> fields = std::move(edited_.fields);  // their texts are our own
  edited_ = *new_request.head;
  edited_.fields = std::move(fields);
  http::IndexKnown(edited_);
}

void RequestState::CopyHeaders(const RequestState& other) {
  if (!other.is_edited_) return;
  const std::vector<http::HeaderField> fields = other.edited_.fields;
  edited_ = *request->head;
  is_edited_ = true;
  std::deque<std::string> texts;
  edited_.fields.clear();
  for (const http::HeaderField& field : fields) {
    const std::string& name = texts.emplace_back(field.name);
    const std::string& value = texts.emplace_back(field.value);
    edited_.fields.push_back({name, value});
  }
  texts_ = std::move(texts);
  http::IndexKnown(edited_);
}

void RequestState::Edit() {
  if (is_edited_) return;
  edited_ = *request->head;
  is_edited_ = true;
  for (http::HeaderField& field : edited_.fields) {  // the buffer may move before the answer is logged
    field.name = texts_.emplace_back(field.name);
    field.value = texts_.emplace_back(field.value);
  }
  http::IndexKnown(edited_);
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
