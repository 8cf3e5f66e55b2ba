/*
 * job_id - hashes, and hex both ways.
 *
 * The recipe is part of the wire format: nothing in here may depend on the boot. The byte order is the machine's, and the
 * machine is little-endian (x86-64 only).
 */
#include "path/job_id.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

spr_job_source
spr_job_source_of(spr_range from, spr_range id)
{
	uint8_t text[2 + 2 * SPREADER_ID_MAX];
	uint16_t from_len = (uint16_t)from.len;
	XXH128_hash_t hash;

	memcpy(text, &from_len, sizeof(from_len));
	memcpy(text + 2, from.at, from.len);
	memcpy(text + 2 + from.len, id.at, id.len);
	hash = XXH3_128bits(text, 2 + from.len + id.len);
	return ((spr_job_source){.low = hash.low64, .high = hash.high64});
}

spr_job_key
spr_job_key_of(const spr_job_source *source, const spr_callback *callback)
{
	const uint64_t parts[] = {source->low, source->high, callback->job_hash[0],
				  callback->job_hash[1]};
	XXH128_hash_t hash = XXH3_128bits(parts, sizeof(parts));

	return ((spr_job_key){.low = hash.low64, .high = hash.high64});
}

/* Eight digits at once: the nibbles spread to bytes, then 0..9 and 10..15 moved to their letters. */
static void
write_half(uint8_t *out, uint32_t half)
{
	uint64_t x = __builtin_bswap32(half);
	uint64_t letters;

	x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
	x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
	x = ((x & UINT64_C(0x000f000f000f000f)) << 8) | ((x >> 4) & UINT64_C(0x000f000f000f000f));
	letters = ((x + UINT64_C(0x0606060606060606)) >> 4) & UINT64_C(0x0101010101010101);
	x += UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
	memcpy(out, &x, sizeof(x));
}

void
spr_job_key_write(uint8_t *out, spr_job_key key)
{
	write_half(out, (uint32_t)(key.high >> 32));
	write_half(out + 8, (uint32_t)key.high);
	write_half(out + 16, (uint32_t)(key.low >> 32));
	write_half(out + 24, (uint32_t)key.low);
}

static bool
read_word(const uint8_t *hex, uint64_t *word)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 16; i++) {
		uint8_t digit = hex[i] - '0', letter = hex[i] - 'a';

		if (digit > 9 && letter > 5)
			return (false);
		value = value << 4 | (digit <= 9 ? digit : letter + 10u);
	}
	*word = value;
	return (true);
}

bool
spr_job_key_read(const uint8_t *hex, spr_job_key *key)
{
	return (read_word(hex, &key->high) && read_word(hex + 16, &key->low));
}
