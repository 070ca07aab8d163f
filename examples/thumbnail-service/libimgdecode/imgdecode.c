/*
 * Decoders of two toy formats. All numbers are 32 bits, in the byte order of the machine.
 *
 * TIFF: "TOYT", width, height, then one directory entry for each tile (offset, runs, checksum), row by row; a tile is a list of runs
 *       (count, pixel). The checksum is the sum of the tile's pixels. Pixels are stored as BGRA and handed out as RGBA.
 * PNG:  "TOYP", width, height, then one colour for each row.
 *
 * LIBIMGDECODE_VERSION chooses the release: 10000, 10100 (leaks) or 10101 (mended). The three differ in one place, marked below.
 */
#include "imgdecode.h"

#include <stdlib.h>
#include <string.h>

#ifndef LIBIMGDECODE_VERSION
#error "Set LIBIMGDECODE_VERSION: 10000, 10100 or 10101"
#endif

#define TIFF_HEADER_BYTES 12u
#define TILE_ENTRY_BYTES 12u
#define TILE_PIXELS (IMG_TILE_SIDE * IMG_TILE_SIDE)

const char *img_version(void)
{
#if LIBIMGDECODE_VERSION == 10000
    return "1.0.0";
#elif LIBIMGDECODE_VERSION == 10100
    return "1.1.0";
#elif LIBIMGDECODE_VERSION == 10101
    return "1.1.1";
#else
#error "LIBIMGDECODE_VERSION must be 10000, 10100 or 10101"
#endif
}

const char *img_status_text(img_status status)
{
    switch (status) {
    case IMG_OK: return "ok";
    case IMG_NOT_AN_IMAGE: return "not an image";
    case IMG_TOO_LARGE: return "too large";
    case IMG_CORRUPT: return "corrupt tile";
    case IMG_NO_MEMORY: return "out of memory";
    }
    return "unknown";
}

#define OPAQUE_BLACK 0xff000000u

/* Filled, so that a tile that cannot be decoded never shows pixels of somebody else's image. */
uint8_t *allocate_decode_buffer(size_t bytes)
{
    uint32_t *pixels = malloc(bytes);
    if (pixels == NULL) return NULL;
    for (size_t i = 0; i < bytes / sizeof *pixels; i++) pixels[i] = OPAQUE_BLACK;
    return (uint8_t *)pixels;
}

void img_free(uint8_t *buffer)
{
    free(buffer);
}

static uint32_t read_u32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static img_status check_sides(uint32_t width, uint32_t height)
{
    if (width == 0 || height == 0) return IMG_NOT_AN_IMAGE;
    if (width > IMG_MAX_SIDE || height > IMG_MAX_SIDE) return IMG_TOO_LARGE;
    return IMG_OK;
}

static size_t tile_count(const tiff_image *tiff)
{
    return (size_t)(tiff->width / IMG_TILE_SIDE) * (tiff->height / IMG_TILE_SIDE);
}

img_status tiff_open(const uint8_t *data, size_t size, tiff_image *tiff)
{
    if (size < TIFF_HEADER_BYTES || memcmp(data, "TOYT", 4) != 0) return IMG_NOT_AN_IMAGE;
    tiff->data = data;
    tiff->size = size;
    tiff->width = read_u32(data + 4);
    tiff->height = read_u32(data + 8);
    img_status status = check_sides(tiff->width, tiff->height);
    if (status != IMG_OK) return status;
    if (tiff->width % IMG_TILE_SIDE != 0 || tiff->height % IMG_TILE_SIDE != 0) return IMG_NOT_AN_IMAGE;
    if (size - TIFF_HEADER_BYTES < tile_count(tiff) * TILE_ENTRY_BYTES) return IMG_NOT_AN_IMAGE;
    return IMG_OK;
}

/* Decodes tile number `tile` into its place in a band, whose rows are `stride` pixels long. */
static img_status decode_tile(const tiff_image *tiff, size_t tile, uint32_t *band, size_t stride)
{
    const uint8_t *entry = tiff->data + TIFF_HEADER_BYTES + tile * TILE_ENTRY_BYTES;
    size_t offset = read_u32(entry), runs = read_u32(entry + 4);
    uint32_t expected = read_u32(entry + 8), sum = 0;
    if (offset > tiff->size || runs > (tiff->size - offset) / 8) return IMG_NOT_AN_IMAGE;

    size_t done = 0;
    for (size_t run = 0; run < runs; run++) {
        size_t count = read_u32(tiff->data + offset + run * 8);
        uint32_t pixel = read_u32(tiff->data + offset + run * 8 + 4);
        if (count > TILE_PIXELS - done) return IMG_CORRUPT;
        for (size_t i = 0; i < count; i++, done++) {
            band[done / IMG_TILE_SIDE * stride + done % IMG_TILE_SIDE] = pixel;
            sum += pixel;
        }
    }
    return done == TILE_PIXELS && sum == expected ? IMG_OK : IMG_CORRUPT;
}

static void bgra_to_rgba(const uint32_t *from, uint32_t *to, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        uint32_t p = from[i];
        to[i] = (p & 0xff00ff00u) | (p >> 16 & 0xffu) | (p & 0xffu) << 16;
    }
}

/* Decodes one row of tiles through an intermediate buffer, which holds the pixels in their stored order. */
static img_status decode_band(const tiff_image *tiff, size_t row, uint32_t *rgba)
{
    size_t across = tiff->width / IMG_TILE_SIDE;
    size_t band_pixels = (size_t)tiff->width * IMG_TILE_SIDE;
    uint32_t *band = (uint32_t *)allocate_decode_buffer(band_pixels * 4);
    if (band == NULL) return IMG_NO_MEMORY;

    for (size_t column = 0; column < across; column++) {
        img_status status = decode_tile(tiff, row * across + column, band + column * IMG_TILE_SIDE, tiff->width);
        if (status != IMG_OK) {
#if LIBIMGDECODE_VERSION == 10100
            /* THE BUG of 1.1.0. Large images were given a quick way out, and the intermediate buffer was forgotten on it. */
            if ((size_t)tiff->width * tiff->height * 4 >= IMG_LARGE_BYTES) return status;
#endif
            img_free((uint8_t *)band);
            return status;
        }
    }
    bgra_to_rgba(band, rgba, band_pixels);
    img_free((uint8_t *)band);
    return IMG_OK;
}

img_status tiff_decode_tiles(const tiff_image *tiff, uint8_t **pixels)
{
    *pixels = NULL;
    uint8_t *rgba = allocate_decode_buffer((size_t)tiff->width * tiff->height * 4);
    if (rgba == NULL) return IMG_NO_MEMORY;
    for (size_t row = 0; row < tiff->height / IMG_TILE_SIDE; row++) {
        size_t offset = row * tiff->width * IMG_TILE_SIDE * 4;
        img_status status = decode_band(tiff, row, (uint32_t *)(rgba + offset));
        if (status != IMG_OK) {
            img_free(rgba);
            return status;
        }
    }
    *pixels = rgba;
    return IMG_OK;
}

img_status png_decode(const uint8_t *data, size_t size, uint32_t *width, uint32_t *height, uint8_t **pixels)
{
    *pixels = NULL;
    if (size < 12 || memcmp(data, "TOYP", 4) != 0) return IMG_NOT_AN_IMAGE;
    *width = read_u32(data + 4);
    *height = read_u32(data + 8);
    img_status status = check_sides(*width, *height);
    if (status != IMG_OK) return status;
    if (size - 12 < (size_t)*height * 4) return IMG_NOT_AN_IMAGE;

    uint32_t *rgba = (uint32_t *)allocate_decode_buffer((size_t)*width * *height * 4);
    if (rgba == NULL) return IMG_NO_MEMORY;
    for (size_t y = 0; y < *height; y++) {
        uint32_t colour = read_u32(data + 12 + y * 4);
        for (size_t x = 0; x < *width; x++) rgba[y * *width + x] = colour + (uint32_t)x;
    }
    *pixels = (uint8_t *)rgba;
    return IMG_OK;
}
