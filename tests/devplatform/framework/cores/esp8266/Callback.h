// What the real core takes as std::function: anything that can be called. (<functional> would double compile times.)
#pragma once
#include <Shared.h>

template <typename Signature>
class Callback;

template <typename... Arguments>
class Callback<void(Arguments...)> {
 public:
  Callback() = default;
  template <typename Function>
  Callback(Function function) : _target(new Target<Function>(function)) {}
  explicit operator bool() const { return static_cast<bool>(_target); }
  void operator()(Arguments... arguments) const { _target->call(arguments...); }

 private:
  struct Base {
    virtual void call(Arguments... arguments) = 0;
  };
  template <typename Function>
  struct Target final : Base {
    explicit Target(Function function) : _function(function) {}
    void call(Arguments... arguments) override { _function(arguments...); }
    Function _function;
  };
  Shared<Base> _target;
};
