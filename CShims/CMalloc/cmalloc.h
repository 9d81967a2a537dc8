// malloc_trim(3), which Swift's own module of the C library lacks.
#pragma once
#include <malloc.h>
