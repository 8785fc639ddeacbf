/* SPDX-License-Identifier: Apache-2.0 */
#include "format/kind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* ------------------------------------------------------------------ the words */

#define CONVERT "convert it to PNG or JPEG"

static const struct {
    enum fdit_kind_group group;
    const char *text, *word, *remedy;
} kinds[FDIT_KIND_COUNT] = {
    [FDIT_KIND_UNKNOWN] = { FDIT_KIND_IS_OTHER, "of no kind that is known here", "of unknown kind", NULL },
    [FDIT_KIND_EMPTY] = { FDIT_KIND_IS_OTHER, "empty", "empty", "get it again" },
    [FDIT_KIND_ZEROS] = { FDIT_KIND_IS_OTHER, "nothing but zero bytes at its beginning", "of zero bytes",
                          "it was never written or copied whole; get it again" },
    [FDIT_KIND_FOLDER] = { FDIT_KIND_IS_OTHER, "a folder", "folder", NULL },
    [FDIT_KIND_SPECIAL] = { FDIT_KIND_IS_OTHER, "a pipe, socket or device", "pipe or device",
                            "give a regular file" },
    [FDIT_KIND_PNG] = { FDIT_KIND_IS_PICTURE, "a PNG picture", "PNG", NULL },
    [FDIT_KIND_JPEG] = { FDIT_KIND_IS_PICTURE, "a JPEG picture", "JPEG", NULL },
    [FDIT_KIND_WEBP] = { FDIT_KIND_IS_PICTURE, "a WebP picture", "WebP", NULL },
    [FDIT_KIND_BMP] = { FDIT_KIND_IS_OTHER_PICTURE, "a BMP picture", "BMP", CONVERT },
    [FDIT_KIND_TIFF] = { FDIT_KIND_IS_OTHER_PICTURE, "a TIFF picture", "TIFF", CONVERT },
    [FDIT_KIND_GIF] = { FDIT_KIND_IS_OTHER_PICTURE, "a GIF picture", "GIF", CONVERT },
    [FDIT_KIND_HEIC] = { FDIT_KIND_IS_OTHER_PICTURE, "a HEIC picture", "HEIC", CONVERT },
    [FDIT_KIND_AVIF] = { FDIT_KIND_IS_OTHER_PICTURE, "an AVIF picture", "AVIF", CONVERT },
    [FDIT_KIND_JXL] = { FDIT_KIND_IS_OTHER_PICTURE, "a JPEG XL picture", "JPEG XL", CONVERT },
    [FDIT_KIND_JP2] = { FDIT_KIND_IS_OTHER_PICTURE, "a JPEG 2000 picture", "JPEG 2000", CONVERT },
    [FDIT_KIND_SVG] = { FDIT_KIND_IS_OTHER_PICTURE, "an SVG drawing", "SVG", CONVERT },
    [FDIT_KIND_PSD] = { FDIT_KIND_IS_OTHER_PICTURE, "a Photoshop picture", "PSD", CONVERT },
    [FDIT_KIND_ICO] = { FDIT_KIND_IS_OTHER_PICTURE, "an icon or cursor", "ICO", CONVERT },
    [FDIT_KIND_PNM] = { FDIT_KIND_IS_OTHER_PICTURE, "a PNM picture", "PNM", CONVERT },
    [FDIT_KIND_EXR] = { FDIT_KIND_IS_OTHER_PICTURE, "an OpenEXR picture", "EXR", CONVERT },
    [FDIT_KIND_HDR] = { FDIT_KIND_IS_OTHER_PICTURE, "a Radiance HDR picture", "HDR", CONVERT },
    [FDIT_KIND_QOI] = { FDIT_KIND_IS_OTHER_PICTURE, "a QOI picture", "QOI", CONVERT },
    [FDIT_KIND_DDS] = { FDIT_KIND_IS_OTHER_PICTURE, "a DDS texture", "DDS", CONVERT },
    [FDIT_KIND_RAW] = { FDIT_KIND_IS_OTHER_PICTURE, "a camera's raw picture", "camera raw", CONVERT },
    [FDIT_KIND_VIDEO] = { FDIT_KIND_IS_OTHER_PICTURE, "a film", "film", "take single pictures out of it" },
    [FDIT_KIND_AUDIO] = { FDIT_KIND_IS_OTHER, "a sound", "sound", NULL },
    [FDIT_KIND_TAR] = { FDIT_KIND_IS_ARCHIVE, "a tar archive", "tar", NULL },
    [FDIT_KIND_TAR_GZ] = { FDIT_KIND_IS_ARCHIVE, "a tar.gz archive", "tar.gz", NULL },
    [FDIT_KIND_GZIP] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a gzip-compressed file", "gzip",
                         "unpack it with \"gzip -d\"" },
    [FDIT_KIND_XZ] = { FDIT_KIND_IS_OTHER_ARCHIVE, "an xz-compressed file", "xz",
                       "unpack it with \"xz -d\" or \"tar xf\"" },
    [FDIT_KIND_BZIP2] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a bzip2-compressed file", "bzip2",
                          "unpack it with \"bzip2 -d\" or \"tar xf\"" },
    [FDIT_KIND_ZSTD] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a zstd-compressed file", "zstd",
                         "unpack it with \"zstd -d\" or \"tar xf\"" },
    [FDIT_KIND_LZ4] = { FDIT_KIND_IS_OTHER_ARCHIVE, "an lz4-compressed file", "lz4",
                        "unpack it with \"lz4 -d\"" },
    [FDIT_KIND_LZIP] = { FDIT_KIND_IS_OTHER_ARCHIVE, "an lzip-compressed file", "lzip",
                         "unpack it with \"lzip -d\" or \"tar xf\"" },
    [FDIT_KIND_COMPRESS] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a file of compress (.Z)", ".Z",
                             "unpack it with \"gzip -d\"" },
    [FDIT_KIND_ZIP] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a zip archive", "zip", "unpack it with \"unzip\"" },
    [FDIT_KIND_7Z] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a 7z archive", "7z", "unpack it with \"7z x\"" },
    [FDIT_KIND_RAR] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a RAR archive", "RAR", "unpack it with \"unrar x\"" },
    [FDIT_KIND_CAB] = { FDIT_KIND_IS_OTHER_ARCHIVE, "a cabinet archive", "CAB",
                        "unpack it with \"cabextract\"" },
    [FDIT_KIND_AR] = { FDIT_KIND_IS_OTHER_ARCHIVE, "an ar archive", "ar", "unpack it with \"ar x\"" },
    [FDIT_KIND_SAFETENSORS] = { FDIT_KIND_IS_WEIGHTS, "a safetensors file", "safetensors", NULL },
    [FDIT_KIND_TORCH] = { FDIT_KIND_IS_WEIGHTS, "a torch file", "torch", NULL },
    [FDIT_KIND_TORCH_LEGACY] = { FDIT_KIND_IS_WEIGHTS, "a torch file (before version 1.6)", "torch", NULL },
    [FDIT_KIND_PICKLE] = { FDIT_KIND_IS_WEIGHTS, "a Python pickle", "pickle", NULL },
    [FDIT_KIND_HDF5] = { FDIT_KIND_IS_OTHER_WEIGHTS, "an HDF5 file (Keras .h5, MATLAB .mat)", "HDF5", NULL },
    [FDIT_KIND_NPY] = { FDIT_KIND_IS_OTHER_WEIGHTS, "a NumPy array (.npy)", "NumPy", NULL },
    [FDIT_KIND_NPZ] = { FDIT_KIND_IS_OTHER_WEIGHTS, "NumPy arrays (.npz)", "NumPy", NULL },
    [FDIT_KIND_GGUF] = { FDIT_KIND_IS_OTHER_WEIGHTS, "a GGUF or GGML model", "GGUF", NULL },
    [FDIT_KIND_ONNX] = { FDIT_KIND_IS_OTHER_WEIGHTS, "an ONNX model", "ONNX", NULL },
    [FDIT_KIND_TFLITE] = { FDIT_KIND_IS_OTHER_WEIGHTS, "a TensorFlow Lite model", "TFLite", NULL },
    [FDIT_KIND_PARQUET] = { FDIT_KIND_IS_OTHER_WEIGHTS, "a Parquet table", "Parquet",
                            "write its pictures into a folder per class" },
    [FDIT_KIND_ARROW] = { FDIT_KIND_IS_OTHER_WEIGHTS, "an Arrow table", "Arrow",
                          "write its pictures into a folder per class" },
    [FDIT_KIND_SQLITE] = { FDIT_KIND_IS_OTHER, "an SQLite data base", "SQLite", NULL },
    [FDIT_KIND_LMDB] = { FDIT_KIND_IS_OTHER, "an LMDB data base", "LMDB",
                         "write its pictures into a folder per class" },
    [FDIT_KIND_OFFICE] = { FDIT_KIND_IS_OTHER, "an office document (xlsx, ods, docx)", "office document",
                           "save the sheet as CSV in UTF-8" },
    [FDIT_KIND_OLE] = { FDIT_KIND_IS_OTHER, "an old office document (xls, doc)", "office document",
                        "save the sheet as CSV in UTF-8" },
    [FDIT_KIND_PDF] = { FDIT_KIND_IS_OTHER, "a PDF document", "PDF", NULL },
    [FDIT_KIND_LFS_POINTER] = { FDIT_KIND_IS_TEXT, "a Git LFS pointer in place of the file",
                                "Git LFS pointer", "get the file with \"git lfs pull\"" },
    [FDIT_KIND_ANNEX_POINTER] = { FDIT_KIND_IS_TEXT, "a git-annex pointer in place of the file",
                                  "git-annex pointer", "get the file with \"git annex get\"" },
    [FDIT_KIND_HTML] = { FDIT_KIND_IS_TEXT, "a web page (HTML)", "HTML",
                         "a download often leaves an error or login "
                         "page in place of the file: get it again" },
    [FDIT_KIND_XML] = { FDIT_KIND_IS_TEXT, "an XML text", "XML", NULL },
    [FDIT_KIND_JSON] = { FDIT_KIND_IS_TEXT, "a JSON text", "JSON", NULL },
    [FDIT_KIND_SCRIPT] = { FDIT_KIND_IS_TEXT, "a script", "script", NULL },
    [FDIT_KIND_TEXT] = { FDIT_KIND_IS_TEXT, "a text", "text", NULL },
    [FDIT_KIND_UTF16] = { FDIT_KIND_IS_TEXT, "a text in UTF-16 or UTF-32", "UTF-16", "save it as UTF-8" },
    [FDIT_KIND_TEXT_OTHER] = { FDIT_KIND_IS_TEXT, "a text in an encoding other than UTF-8", "text",
                               "save it as UTF-8" },
    [FDIT_KIND_PROGRAM] = { FDIT_KIND_IS_OTHER, "a program or library", "program", NULL },
};

enum fdit_kind_group fdit_kind_group(enum fdit_kind kind)
{
    return kinds[kind].group;
}

const char *fdit_kind_text(enum fdit_kind kind)
{
    return kinds[kind].text;
}

const char *fdit_kind_word(enum fdit_kind kind)
{
    return kinds[kind].word;
}

const char *fdit_kind_remedy(enum fdit_kind kind)
{
    return kinds[kind].remedy;
}

enum fdit_status fdit_kind_refuse(fdit_context *ctx, const char *path, enum fdit_kind kind,
                                  const char *wanted, const char *remedy)
{
    if (kinds[kind].remedy)
        remedy = kinds[kind].remedy;
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: is %s, not %s%s%s", path, kinds[kind].text, wanted,
                     remedy ? "; " : "", remedy ? remedy : "");
}

/* ------------------------------------------------------------------ signatures */

struct signature {
    enum fdit_kind kind;
    unsigned at;
    unsigned char n;
    const char *bytes;
};

/* The first that fits counts. RIFF and ISO media files: their brand alone decides. */
static const struct signature signatures[] = {
    { FDIT_KIND_PNG, 0, 8, "\x89PNG\r\n\x1a\n" },
    { FDIT_KIND_JPEG, 0, 3, "\xff\xd8\xff" },
    { FDIT_KIND_GIF, 0, 4, "GIF8" },
    { FDIT_KIND_TIFF, 0, 4, "II*\0" },
    { FDIT_KIND_TIFF, 0, 4, "MM\0*" },
    { FDIT_KIND_TIFF, 0, 4, "II+\0" },
    { FDIT_KIND_TIFF, 0, 4, "MM\0+" },
    { FDIT_KIND_RAW, 0, 8, "FUJIFILM" },
    { FDIT_KIND_RAW, 0, 5, "IIRO\x08" },
    { FDIT_KIND_RAW, 0, 5, "IIRS\x08" },
    { FDIT_KIND_RAW, 0, 4, "IIU\0" },
    { FDIT_KIND_RAW, 0, 4, "FOVb" },
    { FDIT_KIND_RAW, 0, 4, "\0MRM" },
    { FDIT_KIND_JXL, 0, 2, "\xff\x0a" },
    { FDIT_KIND_JXL, 0, 12, "\0\0\0\x0cJXL \r\n\x87\n" },
    { FDIT_KIND_JP2, 0, 12, "\0\0\0\x0cjP  \r\n\x87\n" },
    { FDIT_KIND_JP2, 0, 4, "\xff\x4f\xff\x51" },
    { FDIT_KIND_PSD, 0, 5, "8BPS\0" },
    { FDIT_KIND_EXR, 0, 4, "\x76\x2f\x31\x01" },
    { FDIT_KIND_HDR, 0, 10, "#?RADIANCE" },
    { FDIT_KIND_HDR, 0, 6, "#?RGBE" },
    { FDIT_KIND_QOI, 0, 4, "qoif" },
    { FDIT_KIND_DDS, 0, 5, "DDS |" },
    { FDIT_KIND_VIDEO, 0, 4, "\x1a\x45\xdf\xa3" },
    { FDIT_KIND_VIDEO, 0, 4, "\0\0\x01\xba" },
    { FDIT_KIND_VIDEO, 0, 4, "FLV\1" },
    { FDIT_KIND_AUDIO, 0, 5, "OggS\0" },
    { FDIT_KIND_AUDIO, 0, 4, "fLaC" },
    { FDIT_KIND_AUDIO, 0, 4, "ID3\3" },
    { FDIT_KIND_AUDIO, 0, 4, "ID3\4" },
    { FDIT_KIND_XZ, 0, 6,
      "\xfd"
      "7zXZ\0" },
    { FDIT_KIND_BZIP2, 4, 6, "1AY&SY" },
    { FDIT_KIND_BZIP2, 4, 6, "\x17\x72\x45\x38\x50\x90" },
    { FDIT_KIND_ZSTD, 0, 4, "\x28\xb5\x2f\xfd" },
    { FDIT_KIND_LZ4, 0, 4, "\x04\x22\x4d\x18" },
    { FDIT_KIND_LZIP, 0, 5, "LZIP\1" },
    { FDIT_KIND_COMPRESS, 0, 2, "\x1f\x9d" },
    { FDIT_KIND_7Z, 0, 6, "7z\xbc\xaf\x27\x1c" },
    { FDIT_KIND_RAR, 0, 6, "Rar!\x1a\x07" },
    { FDIT_KIND_CAB, 0, 5, "MSCF\0" },
    { FDIT_KIND_AR, 0, 8, "!<arch>\n" },
    { FDIT_KIND_HDF5, 0, 8, "\x89HDF\r\n\x1a\n" },
    { FDIT_KIND_HDF5, 512, 8, "\x89HDF\r\n\x1a\n" },
    { FDIT_KIND_NPY, 0, 6, "\x93NUMPY" },
    { FDIT_KIND_GGUF, 0, 4, "GGUF" },
    { FDIT_KIND_GGUF, 0, 4, "lmgg" },
    { FDIT_KIND_GGUF, 0, 4, "tjgg" },
    { FDIT_KIND_TFLITE, 4, 4, "TFL3" },
    { FDIT_KIND_PARQUET, 0, 4, "PAR1" },
    { FDIT_KIND_ARROW, 0, 7, "ARROW1\0" },
    { FDIT_KIND_SQLITE, 0, 16, "SQLite format 3\0" },
    { FDIT_KIND_LMDB, 16, 4, "\xde\xc0\xef\xbe" },
    { FDIT_KIND_OLE, 0, 8, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" },
    { FDIT_KIND_PDF, 0, 5, "%PDF-" },
    { FDIT_KIND_PROGRAM, 0, 4,
      "\x7f"
      "ELF" },
    { FDIT_KIND_PROGRAM, 0, 4, "\xcf\xfa\xed\xfe" },
    { FDIT_KIND_PROGRAM, 0, 4, "\xca\xfe\xba\xbe" },
    { FDIT_KIND_TORCH_LEGACY, 0, 14, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" },
    { FDIT_KIND_LFS_POINTER, 0, 34, "version https://git-lfs.github.com" },
    { FDIT_KIND_LFS_POINTER, 0, 32, "version https://hawser.github.co" },
    { FDIT_KIND_ANNEX_POINTER, 0, 15, "/annex/objects/" },
};

static bool at(const uint8_t *b, size_t n, size_t from, const char *text, size_t len)
{
    return n >= from + len && !memcmp(b + from, text, len);
}

static uint32_t little(const uint8_t *b)
{
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool is_tar(const uint8_t *b, size_t n)
{
    unsigned sum = 0, signed_sum = 0, given = 0;
    if (n < 512 || !b[0])
        return false;
    for (size_t i = 0; i < 512; i++) {
        uint8_t c = i >= 148 && i < 156 ? ' ' : b[i];
        sum += c;
        signed_sum += (unsigned)(int)(int8_t)c;
    }
    size_t i = 148;
    while (i < 156 && b[i] == ' ')
        i++;
    for (; i < 156 && b[i] >= '0' && b[i] <= '7'; i++)
        given = given * 8 + (b[i] - '0');
    return given && (given == sum || given == signed_sum);
}

/* Without memory for a look inside: *no_memory. */
static enum fdit_kind gzip_kind(const uint8_t *b, size_t n, bool *no_memory)
{
    uint8_t out[512];
    z_stream z = { .next_in = (Bytef *)(uintptr_t)b, /* zlib does not write there */
                   .avail_in = (uInt)(n < 1 << 16 ? n : 1 << 16),
                   .next_out = out,
                   .avail_out = sizeof out };
    int result = inflateInit2(&z, 15 + 16);
    if (result == Z_OK) {
        result = inflate(&z, Z_SYNC_FLUSH);
        inflateEnd(&z);
    }
    size_t got = sizeof out - z.avail_out;
    *no_memory = result == Z_MEM_ERROR;
    return (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) && is_tar(out, got)
               ? FDIT_KIND_TAR_GZ
               : FDIT_KIND_GZIP;
}

static bool ends_with(const uint8_t *name, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && !memcmp(name + n - m, end, m);
}

/* By the names of the first members: local headers follow each other as far as their sizes are
 * told. */
static enum fdit_kind zip_kind(const uint8_t *b, size_t n)
{
    size_t from = 0;
    while (at(b, n, from, "PK\3\4", 4) && from + 30 <= n) {
        size_t len = b[from + 26] | (size_t)b[from + 27] << 8,
               extra = b[from + 28] | (size_t)b[from + 29] << 8;
        const uint8_t *name = b + from + 30;
        if (len > n - from - 30)
            break;
        if (ends_with(name, len, "data.pkl") || ends_with(name, len, ".format_version") ||
            ends_with(name, len, "/byteorder"))
            return FDIT_KIND_TORCH;
        if (ends_with(name, len, ".npy"))
            return FDIT_KIND_NPZ;
        if (ends_with(name, len, "[Content_Types].xml") || (len == 8 && !memcmp(name, "mimetype", 8)))
            return FDIT_KIND_OFFICE;
        from += 30 + len + extra + little(b + from + 18);
    }
    return FDIT_KIND_ZIP;
}

/* ISO base media: "ftyp" and a brand, and others that go with it. */
static enum fdit_kind media_kind(const uint8_t *b, size_t n)
{
    static const struct {
        char brand[5];
        enum fdit_kind kind;
    } brands[] = {
        { "avif", FDIT_KIND_AVIF }, { "avis", FDIT_KIND_AVIF },  { "heic", FDIT_KIND_HEIC },
        { "heix", FDIT_KIND_HEIC }, { "heim", FDIT_KIND_HEIC },  { "heis", FDIT_KIND_HEIC },
        { "hevc", FDIT_KIND_HEIC }, { "hevx", FDIT_KIND_HEIC },  { "crx ", FDIT_KIND_RAW },
        { "jxl ", FDIT_KIND_JXL },  { "jp2 ", FDIT_KIND_JP2 },   { "mif1", FDIT_KIND_HEIC },
        { "msf1", FDIT_KIND_HEIC }, { "M4A ", FDIT_KIND_AUDIO },
    };
    size_t size = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
    size = size < n ? size : n;
    for (size_t k = 0; k < sizeof brands / sizeof *brands; k++)
        for (size_t i = 8; i + 4 <= size && i < 64; i += i == 8 ? 8 : 4)
            if (!memcmp(b + i, brands[k].brand, 4))
                return brands[k].kind;
    return FDIT_KIND_VIDEO;
}

/* Signatures that are short enough to stand at the beginning of something else, with a second look.
 */
static enum fdit_kind weak_kind(const uint8_t *b, size_t n)
{
    if (at(b, n, 0, "BM", 2) && n >= 26 && !b[6] && !b[7] && !b[8] && !b[9] && little(b + 14) >= 12 &&
        little(b + 14) <= 256)
        return FDIT_KIND_BMP;
    if (n >= 22 && !b[0] && !b[1] && (b[2] == 1 || b[2] == 2) && !b[3] && b[4] && !b[5] && !b[9])
        return FDIT_KIND_ICO;
    if (n >= 8 && b[0] == 'P' && ((b[1] >= '1' && b[1] <= '7') || b[1] == 'F' || b[1] == 'f') &&
        b[2] == '\n' && (b[3] == '#' || b[1] == '7' || (b[3] >= '0' && b[3] <= '9')))
        return FDIT_KIND_PNM;
    if (at(b, n, 0, "MZ", 2) && n >= 64 && little(b + 60) >= 64 && little(b + 60) < 4096)
        return FDIT_KIND_PROGRAM;
    if (n >= 4 && b[0] == 0xff && (b[1] & 0xe6) == 0xe2 && (b[2] & 0xf0) != 0xf0)
        return FDIT_KIND_AUDIO; /* a frame of MP3 */
    if (n > 9 && b[8] == '{' && !b[4] && !b[5] && !b[6] && !b[7] && little(b) >= 2 && little(b) <= 1u << 30)
        return FDIT_KIND_SAFETENSORS;
    if (n >= 4 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5 && memchr("\x95}](cKJMUXqNC\x8a\x8c", b[2], 15))
        return FDIT_KIND_PICKLE;
    if (n >= 16 && b[0] == 8 && b[1] <= 32 && b[2] == 0x12 && b[3] >= 3 && b[3] < 32 && b[4] >= 'a' &&
        b[4] <= 'z')
        return FDIT_KIND_ONNX; /* protobuf: ir_version, producer_name */
    return FDIT_KIND_UNKNOWN;
}

/* ------------------------------------------------------------------ text */

/* Whether it is UTF-8, but for a character that is cut off at the end. */
static bool is_utf8(const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = b[i] < 0x80   ? 1
                     : b[i] < 0xc2 ? 0
                     : b[i] < 0xe0 ? 2
                     : b[i] < 0xf0 ? 3
                     : b[i] < 0xf5 ? 4
                                   : 0;
        if (!len)
            return false;
        for (size_t k = 1; k < len; k++)
            if (i + k < n && (b[i + k] & 0xc0) != 0x80)
                return false;
        i += len;
    }
    return true;
}

static bool begins(const uint8_t *b, size_t n, const char *text)
{
    size_t len = strlen(text);
    return n >= len && !strncasecmp((const char *)b, text, len);
}

/* What begins as JSON does: an INI file's "[section]" does not. */
static bool is_json(const uint8_t *b, size_t n)
{
    char first = (char)b[0];
    size_t i = 1;
    while (i < n && strchr(" \t\r\n", b[i]) && b[i])
        i++;
    if (i >= n)
        return false;
    if (first == '{')
        return b[i] == '"' || b[i] == '}';
    return strchr("{[\"]-0123456789", b[i]) || begins(b + i, n - i, "true") ||
           begins(b + i, n - i, "false") || begins(b + i, n - i, "null");
}

static enum fdit_kind text_kind(const uint8_t *b, size_t n)
{
    size_t high = 0, i = 0;
    if (at(b, n, 0, "\xff\xfe", 2) || at(b, n, 0, "\xfe\xff", 2) || at(b, n, 0, "\0\0\xfe\xff", 4))
        return FDIT_KIND_UTF16;
    size_t even = 0, odd = 0;
    for (size_t k = 0; k < n; k++) {
        high += b[k] >= 0x80;
        if (!b[k])
            ++*(k % 2 ? &odd : &even);
        else if ((b[k] < 0x20 && !strchr("\t\n\r\f\v\x1b\x1a\b", b[k])) || b[k] == 0x7f)
            return FDIT_KIND_UNKNOWN;
    }
    if (even || odd) /* Latin text in UTF-16 without a mark: every other byte is zero */
        return n >= 4 && ((!even && odd * 10 > n * 4) || (!odd && even * 10 > n * 4)) ? FDIT_KIND_UTF16
                                                                                      : FDIT_KIND_UNKNOWN;
    if (!is_utf8(b, n)) /* of 8-bit encodings most letters are ASCII still, but for those of other
                           scripts */
        return n >= 16 && high * 10 < n * 9 ? FDIT_KIND_TEXT_OTHER : FDIT_KIND_UNKNOWN;
    i = at(b, n, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (i < n && strchr(" \t\r\n", b[i]))
        i++;
    b += i;
    n -= i;
    if (!n)
        return FDIT_KIND_TEXT;
    if (begins(b, n, "<!doctype html") || begins(b, n, "<html") || begins(b, n, "<head"))
        return FDIT_KIND_HTML;
    if (begins(b, n, "<svg"))
        return FDIT_KIND_SVG;
    if (begins(b, n, "<?xml") || begins(b, n, "<!doctype")) {
        for (size_t k = 0; k + 5 < n; k++)
            if (begins(b + k, n - k, "<svg"))
                return FDIT_KIND_SVG;
            else if (begins(b + k, n - k, "<html"))
                return FDIT_KIND_HTML;
        return FDIT_KIND_XML;
    }
    if (begins(b, n, "#!"))
        return FDIT_KIND_SCRIPT;
    return (b[0] == '{' || b[0] == '[') && is_json(b, n) ? FDIT_KIND_JSON : FDIT_KIND_TEXT;
}

/* ------------------------------------------------------------------ public */

static enum fdit_kind kind_of(const uint8_t *b, size_t n, bool *no_memory)
{
    *no_memory = false;
    if (!n)
        return FDIT_KIND_EMPTY;
    size_t look = n < FDIT_KIND_BYTES ? n : FDIT_KIND_BYTES;
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct signature *s = &signatures[i];
        if (at(b, n, s->at, s->bytes, s->n))
            return s->kind;
    }
    if (at(b, n, 0, "RIFF", 4) && n >= 12)
        return at(b, n, 8, "WEBP", 4)   ? FDIT_KIND_WEBP
               : at(b, n, 8, "WAVE", 4) ? FDIT_KIND_AUDIO
                                        : FDIT_KIND_VIDEO;
    if (at(b, n, 4, "ftyp", 4) && n >= 12)
        return media_kind(b, n);
    if (at(b, n, 0, "PK\3\4", 4) || at(b, n, 0, "PK\5\6", 4))
        return zip_kind(b, n);
    if (at(b, n, 0, "\x1f\x8b", 2))
        return gzip_kind(b, n, no_memory);
    if (is_tar(b, n))
        return FDIT_KIND_TAR;
    enum fdit_kind kind = weak_kind(b, n);
    if (kind == FDIT_KIND_UNKNOWN)
        kind = text_kind(b, look);
    if (kind != FDIT_KIND_UNKNOWN)
        return kind;
    for (size_t i = 0; i < look; i++)
        if (b[i])
            return FDIT_KIND_UNKNOWN;
    return FDIT_KIND_ZEROS;
}

enum fdit_kind fdit_kind_of_bytes(const uint8_t *b, size_t n)
{
    bool no_memory;
    return kind_of(b, n, &no_memory);
}

enum fdit_status fdit_kind_of_file(fdit_context *ctx, const char *path, enum fdit_kind *out)
{
    enum fdit_status status = FDIT_OK;
    uint8_t bytes[FDIT_KIND_BYTES];
    size_t n = 0;
    struct stat about;
    int file = -1;
    *out = FDIT_KIND_UNKNOWN;
    if (stat(path, &about) != 0)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be opened", path));
    if (!S_ISREG(about.st_mode)) {
        *out = S_ISDIR(about.st_mode) ? FDIT_KIND_FOLDER : FDIT_KIND_SPECIAL;
        return FDIT_OK;
    }
    /* O_NONBLOCK: it may have become a pipe since */
    file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be opened", path));
    while (n < sizeof bytes) {
        ssize_t got = read(file, bytes + n, sizeof bytes - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be read", path));
        if (!got)
            break;
        n += (size_t)got;
    }
    bool no_memory;
    *out = kind_of(bytes, n, &no_memory);
    if (no_memory)
        FAIL(ctx, FDIT_ERROR_MEMORY, "%s: out of memory for a look into the compressed file", path);
out:
    if (file >= 0)
        close(file);
    return status;
}
