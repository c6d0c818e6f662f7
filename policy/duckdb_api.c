#include "policy/duckdb_api.h"

#include "catalog/base/log.h"
#include "policy/duckdb.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct duckdb_api api; /* set once, under api_once */
static pthread_once_t api_once = PTHREAD_ONCE_INIT;

static void api_load(void)
{
	static const struct {
		const char *name;
		size_t offset;
	} symbols[] = {
#define SYMBOL(id) { "duckdb_" #id, offsetof(__typeof__(api), id) }
		SYMBOL(open), SYMBOL(close), SYMBOL(connect), SYMBOL(disconnect), SYMBOL(query), SYMBOL(destroy_result), SYMBOL(create_logical_type),
		SYMBOL(destroy_logical_type), SYMBOL(create_scalar_function), SYMBOL(destroy_scalar_function), SYMBOL(scalar_function_set_name),
		SYMBOL(scalar_function_add_parameter), SYMBOL(scalar_function_set_return_type), SYMBOL(scalar_function_set_special_handling),
		SYMBOL(scalar_function_set_extra_info), SYMBOL(scalar_function_get_extra_info), SYMBOL(scalar_function_set_function),
		SYMBOL(register_scalar_function), SYMBOL(data_chunk_get_size), SYMBOL(data_chunk_get_vector), SYMBOL(vector_get_data),
		SYMBOL(vector_get_validity), SYMBOL(vector_ensure_validity_writable), SYMBOL(vector_assign_string_element_len), SYMBOL(library_version), SYMBOL(row_count),
		SYMBOL(column_count), SYMBOL(value_double), SYMBOL(value_is_null), SYMBOL(column_name), SYMBOL(column_type),
		SYMBOL(scalar_function_set_error), SYMBOL(scalar_function_set_volatile), SYMBOL(result_error),
#undef SYMBOL
	};
	const char *given = getenv("MESHFS_DUCKDB");
	void *library = dlopen(given && *given ? given : "libduckdb.so", RTLD_LAZY | RTLD_LOCAL);
	if (!library && !(given && *given))
		library = dlopen("/usr/local/lib/libduckdb.so", RTLD_LAZY | RTLD_LOCAL);
	for (size_t i = 0; library && i < sizeof symbols / sizeof *symbols; i++) {
		void *address = dlsym(library, symbols[i].name);
		if (!address) {
			dlclose(library);
			return;
		}
		memcpy((char *)&api + symbols[i].offset, &address, sizeof address);
	}
	api.library = library;
}

const struct duckdb_api *duckdb_api(void)
{
	pthread_once(&api_once, api_load);
	return api.library ? &api : NULL;
}

static int set(handle connection, const char *sql)
{
	union result result;
	memset(&result, 0, sizeof result);
	int failed = api.query(connection, sql, &result);
	api.destroy_result(&result);
	return failed ? -EIO : 0;
}

int duckdb_settle(handle connection)
{
	static const char settings[] = "SET memory_limit='" DUCKDB_MEMORY "'; SET temp_directory='';"
				       "SET autoinstall_known_extensions=false; SET autoload_known_extensions=false";
	int r = set(connection, settings);
	/* Times with a zone read the same on every host.  An engine without its ICU part knows no zones, and has UTC anyway. */
	if (!r && set(connection, "SET TimeZone='UTC'"))
		log_debug("the engine knows no time zones");
	return r;
}

const char *duckdb_engine_version(void)
{
	return duckdb_api() ? api.library_version() : "none";
}
