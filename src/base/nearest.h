/* nearest.h: which known word a mistyped one was meant to be. */
#ifndef HY_BASE_NEAREST_H
#define HY_BASE_NEAREST_H

/* The one of `known` that is nearest to what was written: with few typing errors, or beginning with
 * it, or having it inside. The first of equals; NULL when none is near. */
const char *hy__nearest(const char *written, const char *const *known, int n);

#endif
