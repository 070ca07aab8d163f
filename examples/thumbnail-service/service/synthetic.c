#include "synthetic.h"

#include <stdlib.h>
#include <string.h>

#include "../libimgdecode/imgdecode.h"

#define RUNS_PER_TILE 64u

uint32_t synthetic_side(unsigned mb)
{
    uint32_t side = IMG_TILE_SIDE;
    while ((uint64_t)side * side * 4 < (uint64_t)mb << 20) side += IMG_TILE_SIDE;
    return side;
}

uint8_t *synthetic_tiff(uint32_t side, bool corrupt, size_t *size)
{
    size_t tiles = (size_t)(side / IMG_TILE_SIDE) * (side / IMG_TILE_SIDE);
    uint32_t count = IMG_TILE_SIDE * IMG_TILE_SIDE / RUNS_PER_TILE;
    size_t directory = 3, body = directory + tiles * 3;
    *size = (body + tiles * RUNS_PER_TILE * 2) * 4;
    uint32_t *words = malloc(*size);
    if (words == NULL) return NULL;

    memcpy(words, "TOYT", 4);
    words[1] = words[2] = side;
    for (size_t tile = 0; tile < tiles; tile++) {
        uint32_t *entry = words + directory + tile * 3, sum = 0;
        size_t start = body + tile * RUNS_PER_TILE * 2;
        for (size_t run = 0; run < RUNS_PER_TILE; run++) {
            uint32_t pixel = 0xff000000u | (uint32_t)(tile * 8191 + run * 257);
            words[start + run * 2] = count;
            words[start + run * 2 + 1] = pixel;
            sum += count * pixel;
        }
        entry[0] = (uint32_t)(start * 4);
        entry[1] = RUNS_PER_TILE;
        entry[2] = corrupt && tile == tiles - 1 ? sum + 1 : sum;
    }
    return (uint8_t *)words;
}

uint8_t *synthetic_png(uint32_t side, bool corrupt, size_t *size)
{
    *size = ((size_t)side + 3) * 4;
    uint32_t *words = malloc(*size);
    if (words == NULL) return NULL;
    memcpy(words, "TOYP", 4);
    words[1] = words[2] = side;
    for (uint32_t y = 0; y < side; y++) words[3 + y] = 0xff000000u | y * 77;
    if (corrupt) *size -= 4;
    return (uint8_t *)words;
}
