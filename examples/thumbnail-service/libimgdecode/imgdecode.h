/* libimgdecode: decodes the toy images of this example. Not a real TIFF or PNG reader: the formats are described in imgdecode.c. */
#ifndef IMGDECODE_H
#define IMGDECODE_H

#include <stddef.h>
#include <stdint.h>

#define IMG_API __attribute__((visibility("default"), noinline))

typedef enum {
    IMG_OK = 0,
    IMG_NOT_AN_IMAGE = 1, /* wrong magic, or shorter than its header says */
    IMG_TOO_LARGE = 2,    /* wider or higher than IMG_MAX_SIDE */
    IMG_CORRUPT = 3,      /* a tile does not have the checksum that its directory entry says */
    IMG_NO_MEMORY = 4,
} img_status;

#define IMG_MAX_SIDE 16384u
/* Pixels of one side of a TIFF tile. */
#define IMG_TILE_SIDE 256u
/* A TIFF with at least so many decoded bytes is large. */
#define IMG_LARGE_BYTES (2u << 20)

/* An opened TIFF. It points into the caller's bytes, which must outlive it. */
typedef struct {
    const uint8_t *data;
    size_t size;
    uint32_t width;  /* pixels; a multiple of IMG_TILE_SIDE */
    uint32_t height; /* pixels; a multiple of IMG_TILE_SIDE */
} tiff_image;

/* "1.0.0" and the like. */
IMG_API const char *img_version(void);
/* What img_status means, for people. */
IMG_API const char *img_status_text(img_status status);

/* Reads and checks the header. */
IMG_API img_status tiff_open(const uint8_t *data, size_t size, tiff_image *tiff);
/* Decodes the whole image into *pixels (RGBA, width * height * 4 bytes), which the caller gives back with img_free. NULL on any error. */
IMG_API img_status tiff_decode_tiles(const tiff_image *tiff, uint8_t **pixels);
/* Likewise for the toy PNG. */
IMG_API img_status png_decode(const uint8_t *data, size_t size, uint32_t *width, uint32_t *height, uint8_t **pixels);
/* A buffer for decoding; NULL when there is no memory. */
IMG_API uint8_t *allocate_decode_buffer(size_t bytes);
IMG_API void img_free(uint8_t *buffer);

#endif
