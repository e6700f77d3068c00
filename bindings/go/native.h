/* What the cgo files of this package include: the C interface, or one sentence on how to get it. The folder of the library
 * is on the include path; see native.go. */
#if !__has_include("libduramen.a") || !__has_include("duramen.h")
#error "duramen's static library is missing; run `make go-native` in duramen's repository"
#else
#include "duramen.h"
#endif
