/* Streams of 32-bit words for statistical batteries: a generator read along an axis.
   word = f(k0, k1, T, U, i, h): two key words, the tag's two constants, the low and the high word of the index. */
#ifndef STREAMS_H
#define STREAMS_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t u32;
typedef uint64_t u64;
enum { BLOCK = 8192 }; /* words made at a time */

typedef struct {
    u32 k0[BLOCK], k1[BLOCK], T[BLOCK], U[BLOCK], i[BLOCK], h[BLOCK];
} inputs;

extern u32 base_seed; /* chooses the key and the tag of the axes that need one; change it before set_axis */

int set_generator(const char *name);
int set_axis(const char *name); /* axis[:post]; starts at its beginning */
int set_stream(int argc, char **argv); /* GENERATOR AXIS ... -s SEED; otherwise prints what there is */
void evaluate(const inputs *at, u32 *words, size_t n);
void next_block(u32 *words);
u32 next_word(void);
void jax_child(u32 k0, u32 k1, u32 n, u32 *child0, u32 *child1);
#endif
