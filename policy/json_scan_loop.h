/*
 * The loop of json_scan.c, compiled once an instruction set; see csv_scan_loop.h for the parameters.  Included by json_scan.c only.
 */
SCAN_TARGET size_t SCAN_NAME(struct json_scan *s, uint32_t *ret, size_t room)
{
	size_t n = 0, at = s->at;
	uint64_t in_string = s->in_string, carry = s->escaped;
	unsigned char tail[64];
	while (at < s->len && room - n >= JSON_SCAN_SLACK) {
		const unsigned char *p = s->bytes + at;
		uint64_t valid = ~(uint64_t)0;
		if (s->len - at < 64) {
			memset(tail, ' ', sizeof tail);
			memcpy(tail, p, s->len - at);
			p = tail;
			valid = ((uint64_t)1 << (s->len - at)) - 1;
		}
		struct json_masks m;
		SCAN_MASKS(p, &m);
		uint64_t escaped = carry;
		carry = 0;
		if (m.backslashes | escaped) {
			uint64_t left = m.backslashes & ~escaped;
			while (left) {
				uint64_t one = left & -left;
				carry = one >> 63;
				escaped |= one << 1;
				left &= ~(one | one << 1);
			}
		}
		uint64_t quotes = m.quotes & ~escaped;
		uint64_t inside = SCAN_PREFIX_XOR(quotes) ^ in_string;
		in_string = (uint64_t)((int64_t)inside >> 63);
		uint64_t found = (m.structure & ~inside) | quotes | m.newlines;
		uint64_t bad = m.newlines & inside & valid;
		unsigned char flags = (unsigned char)((m.backslashes ? JSON_FLAG_ESCAPE : 0) | (m.controls & inside & valid ? JSON_FLAG_CONTROL : 0) |
						      (m.high ? JSON_FLAG_HIGH : 0));
		if (flags) {
			s->flags[at / 64] |= flags;
			s->flags[at / 64 + 1] |= flags;
		}
		if (bad) {
			found &= (bad & -bad) - 1;
			s->broken = true;
			s->broken_at = at + (size_t)__builtin_ctzll(bad);
		}
		uint32_t *out = ret + n;
		n += (size_t)__builtin_popcountll(found);
		while (found) { /* eight at a time; what is written too much is written over later */
			for (int k = 0; k < 8; k++) {
				out[k] = (uint32_t)at + (uint32_t)(found ? __builtin_ctzll(found) : 64);
				found &= found - 1;
			}
			out += 8;
		}
		if (s->broken)
			break;
		at += 64;
	}
	if (at >= s->len && !s->broken) {
		at = s->len;
		s->broken = in_string != 0;
		s->broken_at = s->len;
		s->done = !s->broken;
	}
	s->at = at;
	s->in_string = in_string;
	s->escaped = carry;
	return n;
}
#undef SCAN_NAME
#undef SCAN_TARGET
#undef SCAN_MASKS
#undef SCAN_PREFIX_XOR
