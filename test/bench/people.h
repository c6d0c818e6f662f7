/* Made people of eight columns for the benches: names quoted, some with doubled quotes, texts that are hard to compress.  The same bytes always. */
#ifndef MESHFS_TEST_BENCH_PEOPLE_H
#define MESHFS_TEST_BENCH_PEOPLE_H

#include "catalog/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

static uint64_t people_state = 88172645463325252u;

static inline unsigned people_pick(unsigned n)
{
	people_state ^= people_state << 13;
	people_state ^= people_state >> 7;
	people_state ^= people_state << 17;
	return (unsigned)(people_state >> 20) % n;
}

static inline void people_add(struct buf *b, bool json, unsigned id)
{
	static const char *const countries[] = { "DE", "FR", "US", "GB", "IN", "CN", "BR", "NL", "ES", "IT", "PL", "SE", "JP", "KR", "MX", "CA" };
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789   ";
	char notes[120];
	unsigned n = 24 + people_pick(64), country = people_pick(16), age = 18 + people_pick(70), amount = people_pick(1000000), day = 1 + people_pick(28);
	bool junior = people_pick(8) == 0, quoted = people_pick(4) == 0;
	for (unsigned i = 0; i < n; i++)
		notes[i] = letters[people_pick(sizeof letters - 1)];
	notes[n] = 0;
	buf_addf(b, json ? "{\"id\":%u,\"email\":\"user%u@%s.example\",\"name\":\"Smith, Anna%s\",\"age\":%u,\"country\":\"%s\",\"amount\":%u.%02u,"
			   "\"ts\":\"2024-05-%02uT10:%02u:00Z\",\"notes\":\"%s%s%s\"}\n" :
			   "%u,user%u@%s.example,\"Smith, Anna%s\",%u,%s,%u.%02u,2024-05-%02uT10:%02u:00Z,%s%s%s\n",
		 id, people_pick(100000), countries[country], !junior ? "" : json ? " \\\"Jr\\\"" : " \"\"Jr\"\"", age, countries[country], amount / 100, amount % 100,
		 day, id % 60, quoted && !json ? "\"" : "", notes, quoted && !json ? "\"" : "");
}

#define PEOPLE_HEADER "id,email,name,age,country,amount,ts,notes\n"

#endif
