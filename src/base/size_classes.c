/* The generated tables, defined once. */
#define SIZE_CLASSES_DEFINE
#include "size_classes.h"
