// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the trace events that include/raid5c_trace.h declares. They are called
 * from helpers.c, which bindgen reads; it should not have to read this.
 */
#define CREATE_TRACE_POINTS
#include "raid5c_trace.h"
