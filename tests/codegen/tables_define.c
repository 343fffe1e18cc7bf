/* The one file of the test program that holds the tables; tables_main.c checks them. */
#define SIZE_CLASSES_DEFINE
#include "size_classes.h"
