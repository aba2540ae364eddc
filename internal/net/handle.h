// Owning pointers to libuv handles. Internal to net.
#pragma once

#include <uv.h>

#include <memory>

#include "internal/protocol/error.h"

namespace logstream::net {

// Closes the handle; its memory goes when libuv is done with it, from the loop. The callbacks of requests that are
// under way still come, with `data` null: each callback asks for its owner by `owner_of` and returns when there is
// none.
template <class T>
struct HandleCloser {
    void operator()(T* handle) const {
        auto* base = reinterpret_cast<uv_handle_t*>(handle);
        base->data = nullptr;
        uv_close(base, [](uv_handle_t* closed) { delete reinterpret_cast<T*>(closed); });
    }
};

// T is a libuv handle, or a standard-layout struct that begins with one.
template <class T>
using Handle = std::unique_ptr<T, HandleCloser<T>>;

// `init` is the uv_…_init call; its failure means that libuv or the process is out of file descriptors.
template <class T, class Init>
protocol::Result<Handle<T>> make_handle(void* owner, Init init) {
    auto raw = std::make_unique<T>();
    if (const int status = init(raw.get()); status < 0)
        return protocol::fail(protocol::ErrorCode::kNetwork, "the event loop cannot watch another socket: {}",
                              uv_strerror(status));
    reinterpret_cast<uv_handle_t*>(raw.get())->data = owner;
    return Handle<T>(raw.release());
}

template <class Owner, class T>
Owner* owner_of(T* handle) {
    return static_cast<Owner*>(reinterpret_cast<uv_handle_t*>(handle)->data);
}

}  // namespace logstream::net
