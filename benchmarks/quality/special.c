/* special GENERATOR dups|related|aval|diffs|marg|known|children [-l LOG2]: what the batteries do not test.

   dups      equal words among 2^24 along an axis, against m (1 - (1 - 1/m)^n); a permutation has none
   related   equal words among 2^l, likewise, of the xor of two streams whose inputs differ in one bit, for each such bit
   aval      how often each input bit flips each output bit, and each xor of two output bits, in 2^l words
   diffs     for each input difference, in 2^l words: how often two words agree (expected 2^-32), and a chi-square of
             three 16-bit windows of their xor
   marg      one input runs through 2^l values: chi-square of three 16-bit windows of the words
   known     the word of each line "k0 k1 T U low high" on stdin
   children  the first children of two keys, to be held against jax.random.split and fold_in */
#include "streams.h"
#include <math.h>

enum { K0, K1, INDEX, TAG, TAG2, HIGH, FIELDS };
static const char *const names[FIELDS] = {"k0", "k1", "i", "T", "U", "h"};

static u32 *field(inputs *at, int f) {
    return f == K0 ? at->k0 : f == K1 ? at->k1 : f == INDEX ? at->i : f == TAG ? at->T : f == TAG2 ? at->U
                                                                                                     : at->h;
}

static u64 draw(void) { /* splitmix64: chooses the inputs */
    static u64 state = 0x9E3779B97F4A7C15ull;
    u64 z = state += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

/* ---------------------------------------------------------------------------------------------- duplicates */
static double expected_equal(double n, double *sd);
static int ascending(const void *a, const void *b) {
    u32 x = *(const u32 *)a, y = *(const u32 *)b;
    return (x > y) - (x < y);
}
static void dups(void) {
    static const char *const along[] = {"idx", "idxs", "idx0", "seed", "k0", "k1", "kboth", "ieqk1", "ieqs", "il16",
        "il256", "seed256", "key1b", "split", "fold", "fold1", "chain", "tag", "tags", "tagh", "tagil", "high", "highil",
        "st65536", "idxrev", "xkktop", "xk0top", "xk1top", "xseed", "xtag", "xtop"};
    size_t n = 1 << 24;
    u32 *words = malloc(n * sizeof *words);
    double sd, expected = expected_equal(n, &sd), worst = 0;
    int counts = 0;
    printf("expected %.1f sd %.1f\n", expected, sd);
    for (size_t a = 0; a < sizeof along / sizeof *along; a++) {
        printf("%-8s", along[a]);
        for (base_seed = 1; base_seed <= 4; base_seed++, counts++) {
            long equal = 0;
            set_axis(along[a]);
            for (size_t j = 0; j < n; j += BLOCK) next_block(words + j);
            qsort(words, n, sizeof *words, ascending);
            for (size_t j = 1; j < n; j++) equal += words[j] == words[j - 1];
            double z = (equal - expected) / sd;
            if (fabs(z) > fabs(worst)) worst = z;
            printf(" %6ld (%+.1f)", equal, z);
        }
        puts("");
        fflush(stdout);
    }
    printf("worst |z| %.2f over %d counts\n", worst, counts);
    free(words);
}

/* ------------------------------------------------------------------------------------------- related streams */
static double expected_equal(double n, double *sd) {
    double m = 4294967296.0, equal = n + m * expm1(n * log1p(-1 / m));
    *sd = sqrt(equal * (1 - n / m));
    return equal;
}
static long related_equal(u64 *seen, int field_, u32 bit, int both_keys, int lg) {
    static inputs p, q;
    static u32 w[BLOCK], v[BLOCK];
    u64 x = draw(), y = draw();
    long equal = 0;
    memset(seen, 0, 1ull << 29);
    for (u64 start = 0; start < 1ull << lg; start += BLOCK) {
        for (u32 j = 0; j < BLOCK; j++) {
            u32 at = (u32)start + j;
            if (field_ == INDEX) at = (at & (bit - 1)) | (at & ~(bit - 1)) << 1; /* each pair of indices once */
            p.k0[j] = (u32)x, p.k1[j] = (u32)(x >> 32), p.T[j] = (u32)y, p.U[j] = (u32)(y >> 32), p.i[j] = at, p.h[j] = 0;
        }
        q = p;
        for (u32 j = 0; j < BLOCK; j++) field(&q, field_)[j] ^= bit;
        for (u32 j = 0; j < BLOCK && both_keys; j++) q.k1[j] ^= bit;
        evaluate(&p, w, BLOCK);
        evaluate(&q, v, BLOCK);
        for (u32 j = 0; j < BLOCK; j++) {
            u32 word = w[j] ^ v[j];
            equal += seen[word >> 6] >> (word & 63) & 1;
            seen[word >> 6] |= 1ull << (word & 63);
        }
    }
    return equal;
}
static void related(int lg) {
    u64 *seen = malloc(1ull << 29);
    double sd, expected = expected_equal(ldexp(1, lg), &sd), worst = 0;
    int cases = 0, bad = 0;
    printf("expected %.1f sd %.1f\n", expected, sd);
    for (int f = 0; f <= FIELDS; f++) { /* the last one: both key words */
        if (f == TAG2) continue; /* places that differ in it differ in T too, but for one pair in 2^32 */
        for (int b = 31; b >= 0; b--, cases++) {
            long equal = related_equal(seen, f % FIELDS, 1u << b, f == FIELDS, lg);
            double z = (equal - expected) / sd;
            if (fabs(z) > fabs(worst)) worst = z;
            bad += fabs(z) > 4.5;
            printf("%s%s bit %d: %ld equal, z %+.1f\n", fabs(z) > 4.5 ? "* " : "  ", f < FIELDS ? names[f] : "k0,k1", b,
                   equal, z);
            fflush(stdout);
        }
    }
    printf("related: %d of %d bad, worst |z| %.2f, 2^%d words each\n", bad, cases, worst, lg);
    free(seen);
}

/* ----------------------------------------------------------------------------------------------- avalanche */
/* Bases: 0 random; 1 raw seeds below 1024, indices below 2^20, one tag; 2 zero key, small tags, indices below 2^24. */
static void random_inputs(inputs *at, int base) {
    for (size_t j = 0; j < BLOCK; j++) {
        u64 x = draw(), y = draw();
        at->h[j] = 0;
        at->k0[j] = base == 0 ? (u32)x : 0;
        at->k1[j] = base == 0 ? (u32)(x >> 32) : base == 1 ? x & 1023 : 0;
        at->T[j] = base == 0 ? (u32)y : base == 1 ? 0x6A09E667u : x & 255;
        at->U[j] = base == 0 ? (u32)draw() : base == 1 ? 0xBB67AE85u : x >> 8 & 255;
        at->i[j] = (u32)(y >> (base == 0 ? 32 : base == 1 ? 44 : 40));
    }
}
static void aval(int lg, int base) {
    enum { IN = 32 * FIELDS, PLANE = 8 }; /* 512 differences at a time, as bit planes */
    static inputs p, q;
    static u32 w[BLOCK], v[BLOCK];
    static u64 single[IN][32], pair[IN][32][32];
    u64 blocks = (1ull << lg) / BLOCK;
    memset(single, 0, sizeof single);
    memset(pair, 0, sizeof pair);
    for (u64 b = 0; b < blocks; b++) {
        random_inputs(&p, base);
        evaluate(&p, w, BLOCK);
        for (int in = 0; in < IN; in++) {
            q = p;
            for (int j = 0; j < BLOCK; j++) field(&q, in / 32)[j] ^= 1u << (in % 32);
            evaluate(&q, v, BLOCK);
            for (int start = 0; start < BLOCK; start += 64 * PLANE) {
                u64 plane[32][PLANE] = {{0}};
                for (int o = 0; o < 32; o++)
                    for (int s = 0; s < PLANE; s++) {
                        const u32 *x = w + start + 64 * s, *y = v + start + 64 * s;
                        for (int j = 0; j < 64; j++) plane[o][s] |= (u64)((x[j] ^ y[j]) >> o & 1) << j;
                    }
                for (int o = 0; o < 32; o++)
                    for (int s = 0; s < PLANE; s++) {
                        single[in][o] += (u64)__builtin_popcountll(plane[o][s]);
                        for (int r = 0; r < o; r++)
                            pair[in][o][r] += (u64)__builtin_popcountll(plane[o][s] ^ plane[r][s]);
                    }
            }
        }
    }
    double n = (double)blocks * BLOCK, sd = sqrt(n) / 2, worst = 0, worst_pair = 0;
    long over = 0;
    for (int in = 0; in < IN; in++)
        for (int o = 0; o < 32; o++) {
            double z = (single[in][o] - n / 2) / sd;
            if (fabs(z) > fabs(worst)) worst = z;
            if (fabs(z) > 5 && ++over)
                printf("  %s bit %d -> out %d: z %.1f p %.6f\n", names[in / 32], in % 32, o, z, single[in][o] / n);
            for (int r = 0; r < o; r++) {
                double y = (pair[in][o][r] - n / 2) / sd;
                if (fabs(y) > fabs(worst_pair)) worst_pair = y;
                if (fabs(y) > 5.5 && ++over)
                    printf("  %s bit %d -> out %d ^ out %d: z %.1f p %.6f\n", names[in / 32], in % 32, o, r, y,
                           pair[in][o][r] / n);
            }
        }
    printf("avalanche base %d, N=2^%d per cell: worst z %+.2f of 6144, of pairs of output bits worst z %+.2f of 95232"
           " | %ld over the threshold\n", base, lg, worst, worst_pair, over);
    fflush(stdout);
}

/* ----------------------------------------------------------------------------- differences and marginals */
static u32 windows[3][65536];

static void count(const u32 *words) {
    for (u32 j = 0; j < BLOCK; j++) {
        windows[0][words[j] & 65535]++;
        windows[1][words[j] >> 8 & 65535]++;
        windows[2][words[j] >> 16]++;
    }
}
static int chi_square(double n, double z[3]) { /* as standard normals; whether one is beyond 5 */
    int bad = 0;
    for (int t = 0; t < 3; t++) {
        double sum = 0, e = n / 65536;
        for (int j = 0; j < 65536; j++) sum += (windows[t][j] - e) * (windows[t][j] - e) / e;
        z[t] = (sum - 65535) / sqrt(2 * 65535.);
        bad |= fabs(z[t]) > 5;
    }
    return bad;
}
/* A difference: masks to be xored to the five inputs, and a step to be added to the index. */
static int difference(const char *name, int raw, const u32 mask[FIELDS], u32 step, int lg) {
    static inputs p, q;
    static u32 w[BLOCK], v[BLOCK];
    u64 blocks = (1ull << lg) / BLOCK, same = 0;
    u32 k0 = 0, k1 = 0, tag = 0, tag2 = 0, first = 0, bit = mask[INDEX];
    memset(windows, 0, sizeof windows);
    for (u64 b = 0; b < blocks; b++) {
        if (b % 4096 == 0) {
            u64 x = draw(), y = draw();
            k0 = raw ? 0 : (u32)x;
            k1 = raw ? (u32)(x >> 32) % 1024 : (u32)(x >> 32);
            tag = (u32)y;
            tag2 = (u32)draw();
            first = raw ? 0 : (u32)(y >> 32);
        }
        for (u32 j = 0; j < BLOCK; j++) {
            u32 at = first + (u32)((b % 4096) * BLOCK) + j;
            if (bit) at = (at & (bit - 1)) | (at & ~(bit - 1)) << 1; /* each pair of indices once */
            p.k0[j] = k0, p.k1[j] = k1, p.T[j] = tag, p.U[j] = tag2, p.i[j] = at, p.h[j] = 0;
            q.k0[j] = k0 ^ mask[K0], q.k1[j] = k1 ^ mask[K1], q.T[j] = tag ^ mask[TAG], q.U[j] = tag2 ^ mask[TAG2];
            q.h[j] = mask[HIGH];
            q.i[j] = (at + step) ^ bit;
        }
        evaluate(&p, w, BLOCK);
        evaluate(&q, v, BLOCK);
        for (u32 j = 0; j < BLOCK; j++) same += w[j] == v[j], v[j] ^= w[j];
        if (b < 8192) count(v);
    }
    double expected = ldexp(1, lg - 32), z[3];
    int bad = chi_square((double)(blocks < 8192 ? blocks : 8192) * BLOCK, z) | (same > 4 + 8 * expected);
    printf("%s%-14s %s equal %llu (expected %.3f) chi-square z low %+.1f mid %+.1f high %+.1f\n", bad ? "* " : "  ", name,
           raw ? "raw seed" : "random  ", (unsigned long long)same, expected, z[0], z[1], z[2]);
    fflush(stdout);
    return bad;
}
static void diffs(int lg) {
    int bad = 0, n = 0;
    char name[64];
    for (int raw = 0; raw < 2; raw++) {
        for (int f = 0; f < FIELDS; f++)
            for (int b = 0; b < 32; b++) {
                if (raw && (f == K0 || f == TAG || f == TAG2)) continue;
                u32 mask[FIELDS] = {0};
                mask[f] = 1u << b;
                snprintf(name, sizeof name, "%s bit %d", names[f], b);
                bad += difference(name, raw, mask, 0, lg), n++;
            }
        for (int b = 0; b < 32 && !raw; b++) {
            u32 mask[FIELDS] = {0};
            mask[K0] = mask[K1] = 1u << b;
            snprintf(name, sizeof name, "k0,k1 bit %d", b);
            bad += difference(name, raw, mask, 0, lg), n++;
        }
        for (int b = 0; b < 32; b++) {
            u32 mask[FIELDS] = {0};
            snprintf(name, sizeof name, "i+2^%d", b);
            bad += difference(name, raw, mask, 1u << b, lg), n++;
        }
        for (int s = 3; s < 40; s += 4) {
            u32 mask[FIELDS] = {0};
            snprintf(name, sizeof name, "i+%d", s);
            bad += difference(name, raw, mask, (u32)s, lg), n++;
        }
    }
    printf("differences: %d of %d bad, 2^%d words each\n", bad, n, lg);
}
/* An input that loses information gives z > 0, a permutation z < 0. */
static void marg(int lg) {
    enum { REPEATS = 8 };
    static inputs p;
    static u32 w[BLOCK];
    int bad = 0;
    double worst = 0, sum = 0;
    for (int f = 0; f < FIELDS; f++)
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            u64 x = draw(), y = draw();
            u32 first = repeat < 3 ? 0 : (u32)draw();
            u32 fixed[REPEATS][FIELDS] = {
                {0},
                {0, 42, 0, 0x6A09E667u, 0xBB67AE85u, 0},
                {0, 0, 1, 0x6A09E667u, 0xBB67AE85u, 0},
                {(u32)x, (u32)(x >> 32), 0, (u32)(y >> 32), (u32)y, 0},
                {(u32)x | 1, (u32)(x >> 32) | 1, 0, (u32)(y >> 32), (u32)y, 0},
                {(u32)x & ~1u, (u32)(x >> 32) | 1, 0, (u32)(y >> 32), (u32)y, 0},
                {(u32)x, (u32)(x >> 32), (u32)y, (u32)(y >> 32), first, 0},
                {(u32)x, (u32)(x >> 32), (u32)y, (u32)(y >> 32), first, 0},
            };
            memset(windows, 0, sizeof windows);
            for (u64 b = 0; b < (1ull << lg) / BLOCK; b++) {
                for (int g = 0; g < FIELDS; g++)
                    for (u32 j = 0; j < BLOCK; j++)
                        field(&p, g)[j] = g == f ? first + (u32)(b * BLOCK) + j : fixed[repeat][g];
                evaluate(&p, w, BLOCK);
                count(w);
            }
            double z[3];
            if (chi_square(ldexp(1, lg), z) && ++bad)
                printf("* along %s, repeat %d: z low %+.1f mid %+.1f high %+.1f\n", names[f], repeat, z[0], z[1], z[2]);
            for (int t = 0; t < 3; t++) {
                sum += z[t] * z[t];
                if (fabs(z[t]) > fabs(worst)) worst = z[t];
            }
        }
    printf("marginals over 2^%d: %d of %d bad, worst z %+.1f, mean z^2 %.2f\n", lg, bad, FIELDS * REPEATS, worst,
           sum / (3 * FIELDS * REPEATS));
}

/* ------------------------------------------------------------------------------------------- known answers */
static void known(void) {
    static inputs p;
    u32 word;
    while (scanf("%u %u %u %u %u %u", p.k0, p.k1, p.T, p.U, p.i, p.h) == 6) {
        evaluate(&p, &word, 1);
        printf("%u\n", word);
    }
}
static void children(void) {
    static const u32 keys[2][2] = {{0, 42}, {0xDEADBEEFu, 0x12345678u}};
    for (int k = 0; k < 2; k++)
        for (u32 n = 0; n < 100; n++) {
            u32 a, b;
            jax_child(keys[k][0], keys[k][1], n, &a, &b);
            printf("%u %u\n", a, b);
        }
}

int main(int argc, char **argv) {
    int lg = 0;
    if (argc < 3 || set_generator(argv[1])) return 2;
    if (argc == 5 && !strcmp(argv[3], "-l")) lg = atoi(argv[4]);
    if (!strcmp(argv[2], "dups")) dups();
    else if (!strcmp(argv[2], "related")) related(lg ? lg : 27);
    else if (!strcmp(argv[2], "aval")) for (int base = 0; base < 3; base++) aval(lg ? lg : 22, base);
    else if (!strcmp(argv[2], "diffs")) diffs(lg ? lg : 28);
    else if (!strcmp(argv[2], "marg")) marg(lg ? lg : 28);
    else if (!strcmp(argv[2], "known")) known();
    else if (!strcmp(argv[2], "children")) children();
    else return 2;
    return 0;
}
