#include "fs/run_facts.h"

#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/secret.h"
#include "catalog/base/text.h"
#include "fs/options.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int run_word_check(const char *command, const char *option, const char *word, struct err *e)
{
	if (!word)
		return 0;
	size_t len = strlen(word);
	if (!len)
		return options_wrong(e, command, "%s: it is empty", option);
	if (len > RUN_WORD_MAX)
		return options_wrong(e, command, "%s: longer than %d bytes", option, RUN_WORD_MAX);
	bool fits = text_is_utf8(word, len);
	for (size_t i = 0; i < len; i++)
		fits &= (unsigned char)word[i] >= ' ' && word[i] != 0x7f;
	return fits ? 0 : options_wrong(e, command, "%s: it holds a line break, another control character, or what is no UTF-8", option);
}

/* A UUID of version 7: milliseconds first, so that ids sort by time. */
void run_id_new(char ret[RUN_ID_SIZE])
{
	unsigned char b[16];
	uint64_t ms = (uint64_t)(clock_now_ns() / 1000000);
	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		memset(b, 0, sizeof b);
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(ms >> (40 - 8 * i));
	b[6] = (unsigned char)(0x70 | (b[6] & 0x0f));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
	snprintf(ret, RUN_ID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
		 b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void run_name_make(const struct run_facts *facts, const char *id, char ret[RUN_NAME_MAX])
{
	time_t now = time(NULL);
	struct tm tm;
	char day[16];
	localtime_r(&now, &tm);
	strftime(day, sizeof day, "%Y%m%d", &tm);
	snprintf(ret, RUN_NAME_MAX, "%s-%.60s-%s-%s", facts->command ? "run" : "mount", facts->user ? facts->user : "unknown", day,
		 id + strlen(id) - 6);
}

static bool set_later(const struct run_facts *facts, size_t i, size_t len)
{
	for (size_t k = i + 1; k < facts->param_count; k++)
		if (strcspn(facts->params[k], "=") == len && !strncmp(facts->params[k], facts->params[i], len))
			return true;
	return false;
}

void run_params_json(const struct run_facts *facts, struct buf *ret)
{
	struct json j;
	json_start(&j, ret);
	json_open(&j, '{');
	for (size_t i = 0; i < facts->param_count; i++) {
		const char *p = facts->params[i];
		size_t len = strcspn(p, "=");
		char key[256];
		if (set_later(facts, i, len))
			continue;
		snprintf(key, sizeof key, "%.*s", (int)(len < sizeof key ? len : sizeof key - 1), p);
		json_key(&j, key);
		json_text(&j, !p[len] ? "" : secret_name(p, len) ? SECRET_HIDDEN : p + len + 1);
	}
	json_close(&j, '}');
}

void run_groups_json(const struct run_facts *facts, struct buf *ret)
{
	struct json j;
	json_start(&j, ret);
	json_open(&j, '[');
	for (size_t i = 0; i < facts->group_count; i++)
		json_text(&j, facts->groups[i]);
	json_close(&j, ']');
}
