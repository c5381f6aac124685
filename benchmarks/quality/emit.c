/* emit GENERATOR AXIS[:POST] [-s SEED] [-n WORDS]: words on stdout, as the machine stores them */
#include "streams.h"

int main(int argc, char **argv) {
    if (set_stream(argc, argv)) return 2;
    u64 left = ~0ull;
    for (int a = 3; a + 1 < argc; a++)
        if (!strcmp(argv[a], "-n")) left = strtoull(argv[a + 1], 0, 0);
    static u32 words[BLOCK * 8];
    while (left) {
        for (int q = 0; q < 8; q++) next_block(words + q * BLOCK);
        u64 n = left < BLOCK * 8 ? left : BLOCK * 8;
        if (fwrite(words, 4, n, stdout) != n) return 0;
        left -= n;
    }
    return 0;
}
