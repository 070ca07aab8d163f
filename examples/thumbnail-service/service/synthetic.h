/* Makes the files that a real service would be sent: toy TIFFs and PNGs of a wanted size, whole or with one bad tile. */
#ifndef SYNTHETIC_H
#define SYNTHETIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Side in pixels of a square RGBA image of about `mb` MiB; a multiple of the tile's side. */
uint32_t synthetic_side(unsigned mb);
/* The caller frees the result. NULL when there is no memory. A corrupt one has a wrong checksum on its last tile. */
uint8_t *synthetic_tiff(uint32_t side, bool corrupt, size_t *size);
/* Likewise; a corrupt one is cut short. */
uint8_t *synthetic_png(uint32_t side, bool corrupt, size_t *size);

#endif
