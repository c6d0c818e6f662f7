#include "fs/opaque.h"

#include "catalog/base/hash.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define ROUNDS 6
#define NODE_HALF_BITS 32
#define NODE_FIXED_MAX 1 /* none, the root */

int opaque_init(struct opaque *o, bool open)
{
	*o = (struct opaque){ .open = open };
	return open || getrandom(o->key, sizeof o->key, 0) == (ssize_t)sizeof o->key ? 0 : -EIO;
}

/* The round function of a Feistel network. */
static uint64_t scramble(const struct opaque *o, uint64_t half, unsigned round)
{
	uint64_t words[] = { o->key[0], half, o->key[1], round }, first;
	struct xxh128 h;
	xxh128_of(words, sizeof words, &h);
	memcpy(&first, h.bytes, sizeof first);
	return first;
}

uint64_t opaque_put(const struct opaque *o, uint64_t number, unsigned half_bits)
{
	const uint64_t mask = ((uint64_t)1 << half_bits) - 1;
	uint64_t left = number >> half_bits & mask, right = number & mask;
	if (o->open)
		return number;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t next = left ^ (scramble(o, right, round) & mask);
		left = right;
		right = next;
	}
	return left << half_bits | right;
}

uint64_t opaque_get(const struct opaque *o, uint64_t number, unsigned half_bits)
{
	const uint64_t mask = ((uint64_t)1 << half_bits) - 1;
	uint64_t left = number >> half_bits & mask, right = number & mask;
	if (o->open)
		return number;
	for (unsigned round = ROUNDS; round-- > 0;) {
		uint64_t before = right ^ (scramble(o, left, round) & mask);
		right = left;
		left = before;
	}
	return left << half_bits | right;
}

/* What the permutation leads to a number that must stay is led on: the others are permuted among themselves. */
uint64_t opaque_node_put(const struct opaque *o, uint64_t id)
{
	if (o->open || id <= NODE_FIXED_MAX)
		return id;
	do
		id = opaque_put(o, id, NODE_HALF_BITS);
	while (id <= NODE_FIXED_MAX);
	return id;
}

uint64_t opaque_node_get(const struct opaque *o, uint64_t number)
{
	if (o->open || number <= NODE_FIXED_MAX)
		return number;
	do
		number = opaque_get(o, number, NODE_HALF_BITS);
	while (number <= NODE_FIXED_MAX);
	return number;
}
