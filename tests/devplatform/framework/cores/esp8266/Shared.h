// An object that the copies of a pointer share. (<memory> would double compile times.)
#pragma once

template <typename T>
class Shared {
 public:
  Shared() = default;
  template <typename U>
  explicit Shared(U *object) : _object(object), _count(new Count{1, [](T *gone) { delete static_cast<U *>(gone); }}) {}
  Shared(const Shared &other) : _object(other._object), _count(other._count) {
    if (_count) _count->users++;
  }
  Shared &operator=(const Shared &other) {
    Shared copy(other), old;
    old._object = _object, old._count = _count;
    _object = copy._object, _count = copy._count;
    copy._count = nullptr;
    return *this;
  }
  ~Shared() {
    if (!_count || --_count->users > 0) return;
    _count->destroy(_object);
    delete _count;
  }
  T *get() const { return _object; }
  T *operator->() const { return _object; }
  T &operator*() const { return *_object; }
  explicit operator bool() const { return _object != nullptr; }

 private:
  struct Count {
    unsigned users;
    void (*destroy)(T *);  // known where the object was made: T may be declared only
  };
  T *_object = nullptr;
  Count *_count = nullptr;
};
