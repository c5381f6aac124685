/* crush GENERATOR AXIS[:POST] small|crush|big|rabbit [-s SEED]: a battery of TestU01 over a stream */
#include "streams.h"
#include "TestU01.h"

static unsigned int word(void) { return next_word(); }

int main(int argc, char **argv) {
    if (argc < 4 || set_stream(argc, argv)) return 2;
    char name[200];
    snprintf(name, sizeof name, "%s %s", argv[1], argv[2]);
    unif01_Gen *g = unif01_CreateExternGenBits(name, word);
    swrite_Basic = !strcmp(argv[3], "crush") || !strcmp(argv[3], "big");
    if (!strcmp(argv[3], "small")) bbattery_SmallCrush(g);
    else if (!strcmp(argv[3], "crush")) bbattery_Crush(g);
    else if (!strcmp(argv[3], "big")) bbattery_BigCrush(g);
    else if (!strcmp(argv[3], "rabbit")) bbattery_Rabbit(g, 33554432.0);
    else return 2;
    unif01_DeleteExternGenBits(g);
    return 0;
}
