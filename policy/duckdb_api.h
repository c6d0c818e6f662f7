/*
 * Inside policy: DuckDB's C API, as far as it is used, declared after its documented ABI.
 *
 * The library is loaded once, when something first needs it: $MESHFS_DUCKDB, or libduckdb.so where the loader finds it.
 */
#ifndef MESHFS_POLICY_DUCKDB_API_H
#define MESHFS_POLICY_DUCKDB_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void *handle;
typedef uint64_t idx;

enum {
	DUCKDB_TYPE_BOOLEAN = 1,
	DUCKDB_TYPE_TINYINT,
	DUCKDB_TYPE_SMALLINT,
	DUCKDB_TYPE_INTEGER,
	DUCKDB_TYPE_BIGINT,
	DUCKDB_TYPE_UTINYINT,
	DUCKDB_TYPE_USMALLINT,
	DUCKDB_TYPE_UINTEGER,
	DUCKDB_TYPE_UBIGINT,
	DUCKDB_TYPE_FLOAT,
	DUCKDB_TYPE_DOUBLE,
	DUCKDB_TYPE_TIMESTAMP,
	DUCKDB_TYPE_DATE,
	DUCKDB_TYPE_TIME,
	DUCKDB_TYPE_HUGEINT = 16,
	DUCKDB_TYPE_VARCHAR,
	DUCKDB_TYPE_DECIMAL = 19,
	DUCKDB_TYPE_TIMESTAMP_S,
	DUCKDB_TYPE_TIMESTAMP_MS,
	DUCKDB_TYPE_TIMESTAMP_NS,
	DUCKDB_TYPE_ENUM,
	DUCKDB_TYPE_LIST,
	DUCKDB_TYPE_STRUCT,
	DUCKDB_TYPE_MAP,
	DUCKDB_TYPE_UUID,
	DUCKDB_TYPE_TIME_TZ = 30,
	DUCKDB_TYPE_TIMESTAMP_TZ,
	DUCKDB_TYPE_UHUGEINT,
	DUCKDB_TYPE_ARRAY,
};

/* duckdb_result: six words of it are documented; room for more costs nothing. */
union result {
	void *words[6];
	char room[256];
};

/* duckdb_string_t: texts of up to 12 bytes stand in it. */
union string {
	struct {
		uint32_t len;
		char prefix[4];
		const char *text;
	} pointer;
	struct {
		uint32_t len;
		char text[12];
	} inlined;
};

struct duckdb_api {
	void *library;
	int (*open)(const char *path, handle *ret);
	void (*close)(handle *database);
	int (*connect)(handle database, handle *ret);
	void (*disconnect)(handle *connection);
	int (*query)(handle connection, const char *sql, union result *ret);
	void (*destroy_result)(union result *r);
	handle (*create_logical_type)(int type);
	void (*destroy_logical_type)(handle *type);
	handle (*create_scalar_function)(void);
	void (*destroy_scalar_function)(handle *function);
	void (*scalar_function_set_name)(handle function, const char *name);
	void (*scalar_function_add_parameter)(handle function, handle type);
	void (*scalar_function_set_return_type)(handle function, handle type);
	void (*scalar_function_set_special_handling)(handle function);
	void (*scalar_function_set_extra_info)(handle function, void *info, void (*free)(void *));
	void *(*scalar_function_get_extra_info)(handle info);
	void (*scalar_function_set_function)(handle function, void (*call)(handle info, handle chunk, handle output));
	int (*register_scalar_function)(handle connection, handle function);
	idx (*data_chunk_get_size)(handle chunk);
	handle (*data_chunk_get_vector)(handle chunk, idx column);
	void *(*vector_get_data)(handle vector);
	uint64_t *(*vector_get_validity)(handle vector);
	void (*vector_ensure_validity_writable)(handle vector);
	void (*vector_assign_string_element_len)(handle vector, idx row, const char *text, idx len);
	const char *(*library_version)(void);
	idx (*row_count)(union result *r);
	idx (*column_count)(union result *r);
	double (*value_double)(union result *r, idx column, idx row);
	bool (*value_is_null)(union result *r, idx column, idx row);
	const char *(*column_name)(union result *r, idx column);
	int (*column_type)(union result *r, idx column);
	void (*scalar_function_set_error)(handle info, const char *text);
	void (*scalar_function_set_volatile)(handle function);
	const char *(*result_error)(union result *r);
};

/* Loads it at the first call, from any thread.  NULL: there is no engine. */
const struct duckdb_api *duckdb_api(void);

#define DUCKDB_MEMORY "1GB"

/* What holds for every connection: bounded memory, nothing spilled to a disk, no extension fetched or loaded by itself, times in UTC.  0 or -EIO. */
int duckdb_settle(handle connection);

static inline const char *duckdb_string(const union string *s, size_t *ret_len)
{
	*ret_len = s->pointer.len;
	return s->pointer.len <= sizeof s->inlined.text ? s->inlined.text : s->pointer.text;
}

#endif
