#include "policy/thrift.h"

static unsigned read_byte(struct thrift_reader *r)
{
	if (r->bad || r->at == r->end) {
		r->bad = true;
		return 0;
	}
	return *r->at++;
}

static uint64_t read_varint(struct thrift_reader *r)
{
	uint64_t v = 0;
	for (int shift = 0; shift < 64; shift += 7) {
		unsigned b = read_byte(r);
		v |= (uint64_t)(b & 127) << shift;
		if (!(b & 128))
			return v;
	}
	r->bad = true;
	return 0;
}

int64_t thrift_int(struct thrift_reader *r)
{
	uint64_t v = read_varint(r);
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

bool thrift_field(struct thrift_reader *r, int *id, enum thrift_type *ret_type)
{
	unsigned b = read_byte(r);
	*ret_type = (enum thrift_type)(b & 15);
	if (r->bad || *ret_type == THRIFT_STOP)
		return false;
	int64_t next = b >> 4 ? *id + (int)(b >> 4) : thrift_int(r);
	if (next <= *id || next > 32767 || *ret_type > THRIFT_STRUCT) /* ascending, as every writer has them */
		r->bad = true;
	*id = (int)next;
	return !r->bad;
}

const char *thrift_binary(struct thrift_reader *r, size_t *ret_len)
{
	uint64_t n = read_varint(r);
	*ret_len = 0;
	if (r->bad || n > (uint64_t)(r->end - r->at)) {
		r->bad = true;
		return "";
	}
	const char *p = (const char *)r->at;
	r->at += n;
	*ret_len = (size_t)n;
	return p;
}

size_t thrift_list(struct thrift_reader *r, enum thrift_type *ret_type)
{
	unsigned b = read_byte(r);
	uint64_t n = b >> 4 == 15 ? read_varint(r) : b >> 4;
	*ret_type = (enum thrift_type)(b & 15);
	if (r->bad || n > (uint64_t)(r->end - r->at) || *ret_type > THRIFT_STRUCT) {
		r->bad = true;
		return 0;
	}
	return (size_t)n;
}

static void skip_bytes(struct thrift_reader *r, size_t n)
{
	if (r->bad || n > (size_t)(r->end - r->at))
		r->bad = true;
	else
		r->at += n;
}

static void skip(struct thrift_reader *r, enum thrift_type type, bool item, int depth)
{
	enum thrift_type inner;
	size_t n;
	int id = 0;
	if (depth > THRIFT_DEPTH_MAX)
		r->bad = true;
	if (r->bad)
		return;
	switch (type) {
	case THRIFT_TRUE:
	case THRIFT_FALSE:
		if (item)
			skip_bytes(r, 1);
		return;
	case THRIFT_BYTE:
		skip_bytes(r, 1);
		return;
	case THRIFT_I16:
	case THRIFT_I32:
	case THRIFT_I64:
		read_varint(r);
		return;
	case THRIFT_DOUBLE:
		skip_bytes(r, 8);
		return;
	case THRIFT_BINARY:
		thrift_binary(r, &n);
		return;
	case THRIFT_LIST:
	case THRIFT_SET:
		for (n = thrift_list(r, &inner); n && !r->bad; n--)
			skip(r, inner, true, depth + 1);
		return;
	case THRIFT_STRUCT:
		while (thrift_field(r, &id, &inner))
			skip(r, inner, false, depth + 1);
		return;
	case THRIFT_MAP: /* Parquet has none */
	case THRIFT_STOP:
		break;
	}
	r->bad = true;
}

void thrift_skip(struct thrift_reader *r, enum thrift_type type)
{
	skip(r, type, false, 0);
}

void thrift_skip_item(struct thrift_reader *r, enum thrift_type type)
{
	skip(r, type, true, 0);
}

static void write_varint(struct buf *b, uint64_t v)
{
	for (; v > 127; v >>= 7)
		buf_addc(b, (char)(v | 128));
	buf_addc(b, (char)v);
}

void thrift_write_int(struct buf *b, int64_t v)
{
	write_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

void thrift_write_field(struct buf *b, int *last, int id, enum thrift_type type)
{
	int delta = id - *last;
	if (delta > 0 && delta < 16) {
		buf_addc(b, (char)(delta << 4 | (int)type));
	} else {
		buf_addc(b, (char)type);
		thrift_write_int(b, id);
	}
	*last = id;
}

void thrift_write_stop(struct buf *b)
{
	buf_addc(b, 0);
}

void thrift_write_binary(struct buf *b, const void *bytes, size_t len)
{
	write_varint(b, len);
	buf_add(b, bytes, len);
}

void thrift_write_list(struct buf *b, enum thrift_type type, size_t count)
{
	if (count < 15) {
		buf_addc(b, (char)(count << 4 | (size_t)type));
	} else {
		buf_addc(b, (char)(0xF0 | (int)type));
		write_varint(b, count);
	}
}
