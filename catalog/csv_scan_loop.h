/*
 * The loop of csv_scan.c, compiled once an instruction set: SCAN_NAME is the function, SCAN_TARGET its attributes, SCAN_MASKS(p, separator, &m) sets a
 * bit in m for each of 64 bytes, SCAN_PREFIX_XOR(x) gives each bit the parity of the bits up to it.  Included by csv_scan.c only.
 */
SCAN_TARGET size_t SCAN_NAME(struct csv_scan *s, uint32_t *ret, size_t room)
{
	size_t n = 0;
	uint64_t in_quotes = s->in_quotes, may_open = s->may_open, closed = s->closed, after_cr = s->after_cr;
	size_t at = s->at;
	unsigned char tail[64];
	while (at < s->len && room - n >= CSV_SCAN_SLACK) {
		const unsigned char *p = s->bytes + at;
		uint64_t valid = ~(uint64_t)0;
		if (s->len - at < 64) {
			memset(tail, 0, sizeof tail);
			memcpy(tail, p, s->len - at);
			p = tail;
			valid = ((uint64_t)1 << (s->len - at)) - 1;
		}
		struct csv_masks m;
		SCAN_MASKS(p, s->separator, &m);
		uint64_t ends = m.separators | m.newlines, bad;
		if (!(m.quotes | in_quotes | closed)) {
			bad = ((m.returns << 1) | after_cr) & ~m.newlines;
			may_open = ends >> 63;
			after_cr = m.returns >> 63;
		} else {
			uint64_t inside = SCAN_PREFIX_XOR(m.quotes) ^ in_quotes;
			uint64_t closing = m.quotes & ~inside, returns = m.returns & ~inside;
			uint64_t after_close = (closing << 1) | closed;
			ends &= ~inside;
			bad = m.quotes & inside & ~(((ends | closing) << 1) | may_open);
			bad |= after_close & ~(m.quotes | m.separators | m.newlines | m.returns);
			bad |= ((returns << 1) | after_cr) & ~m.newlines;
			may_open = (ends | closing) >> 63;
			closed = closing >> 63;
			after_cr = returns >> 63;
			in_quotes = (uint64_t)((int64_t)inside >> 63);
		}
		bad &= valid;
		if (bad) {
			ends &= (bad & -bad) - 1;
			s->broken = true;
		}
		uint32_t *out = ret + n;
		n += (size_t)__builtin_popcountll(ends);
		while (ends) { /* eight at a time; what is written too much is written over later */
			for (int k = 0; k < 8; k++) {
				out[k] = (uint32_t)at + (uint32_t)(ends ? __builtin_ctzll(ends) : 0);
				ends &= ends - 1;
			}
			out += 8;
		}
		if (s->broken)
			break;
		if (valid != ~(uint64_t)0) {
			/* Open quotes and a lone carriage return at the end are offences, too.  The padding of the last step read as text. */
			uint64_t last = valid ^ (valid >> 1);
			s->broken = in_quotes || (m.returns & last) != 0;
		}
		at += 64;
	}
	if (at >= s->len && !s->broken) {
		at = s->len;
		s->broken = in_quotes != 0 || after_cr != 0;
		s->done = !s->broken;
	}
	s->at = at;
	s->in_quotes = in_quotes;
	s->may_open = may_open;
	s->closed = closed;
	s->after_cr = after_cr;
	return n;
}
#undef SCAN_NAME
#undef SCAN_TARGET
#undef SCAN_MASKS
#undef SCAN_PREFIX_XOR
