/* A PKCS#11 module that is SoftHSM in everything but C_Login, which says that the PIN is locked: SoftHSM never locks one.
   The function list is a version and then pointers in the order of PKCS#11 v2.40, pkcs11f.h. */
#include <dlfcn.h>
#include <stddef.h>

#define CKR_GENERAL_ERROR 0x05UL
#define CKR_PIN_LOCKED 0xA4UL
#define FUNCTIONS 68
#define LOGIN 18

struct function_list {
  unsigned char version[2];
  void *functions[FUNCTIONS];
};

static struct function_list list;

static unsigned long locked(unsigned long session, unsigned long user, unsigned char *pin, unsigned long size) {
  (void)session, (void)user, (void)pin, (void)size;
  return CKR_PIN_LOCKED;
}

unsigned long C_GetFunctionList(struct function_list **out) {
  void *module = dlopen(SOFTHSM, RTLD_NOW | RTLD_LOCAL);
  struct function_list *real = NULL;
  unsigned long (*get)(struct function_list **);
  if (module == NULL) return CKR_GENERAL_ERROR;
  *(void **)&get = dlsym(module, "C_GetFunctionList");
  if (get == NULL || get(&real) != 0) return CKR_GENERAL_ERROR;
  list = *real;
  *(unsigned long (**)(unsigned long, unsigned long, unsigned char *, unsigned long))&list.functions[LOGIN] = locked;
  *out = &list;
  return 0;
}
