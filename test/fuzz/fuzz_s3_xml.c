/* What an S3 server may send: XML, and the headers that are parsed by hand. */
#include "catalog/store/headers.h"
#include "catalog/store/xml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int each(void *arg, const char *path, const char *value, size_t len)
{
	(void)arg;
	if (strlen(path) >= XML_PATH_MAX || strlen(value) != len)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct content_range r;
	int64_t s;
	if (!content_range_parse((const char *)data, size, &r) && r.first > r.last)
		abort();
	http_date_parse((const char *)data, size, &s);
	if (retry_after_ms((const char *)data, size, 0) < 0)
		abort();
	xml_walk((const char *)data, size, each, NULL);
	return 0;
}
