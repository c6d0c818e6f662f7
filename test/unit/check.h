/*
 * The unit tests' harness: one program a module.
 *
 *     TEST(name) { CHECK(x == 3); CHECK_STR(text, "abc"); }
 *     CHECK_MAIN()
 *
 * Each TEST registers itself.  A failed CHECK prints file:line and the values and ends that test; the others still
 * run.  The program prints "ok name" or "FAIL name" a test and exits 1 when any failed.  An argument selects tests by
 * substring.
 */
#ifndef MESHFS_TEST_CHECK_H
#define MESHFS_TEST_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check_test {
	const char *name;
	void (*run)(void);
	struct check_test *next;
};

static struct check_test *check_first, **check_last = &check_first;
static int check_failed; /* in the current test */

#define TEST(id)                                                                                    \
	static void test_##id(void);                                                                \
	static struct check_test check_##id = { #id, test_##id, NULL };                             \
	__attribute__((constructor)) static void check_register_##id(void)                          \
	{                                                                                           \
		*check_last = &check_##id;                                                          \
		check_last = &check_##id.next;                                                      \
	}                                                                                           \
	static void test_##id(void)

#define CHECK_FAIL(...)                                                                             \
	do {                                                                                        \
		printf("%s:%d: ", __FILE__, __LINE__);                                              \
		printf(__VA_ARGS__);                                                                \
		printf("\n");                                                                       \
		check_failed = 1;                                                                   \
		return;                                                                             \
	} while (0)

/* A failed check returns from the function it stands in; helpers that use it return void. */
#define CHECK(condition)                                                                            \
	do {                                                                                        \
		if (!(condition))                                                                   \
			CHECK_FAIL("failed: %s", #condition);                                       \
	} while (0)

#define CHECK_INT(actual, expected)                                                                 \
	do {                                                                                        \
		long long check_a = (long long)(actual), check_e = (long long)(expected);           \
		if (check_a != check_e)                                                             \
			CHECK_FAIL("%s is %lld, expected %lld", #actual, check_a, check_e);         \
	} while (0)

#define CHECK_STR(actual, expected)                                                                 \
	do {                                                                                        \
		const char *check_a = (actual), *check_e = (expected);                              \
		if (!check_a || strcmp(check_a, check_e) != 0)                                      \
			CHECK_FAIL("%s is\n  \"%s\", expected\n  \"%s\"", #actual, check_a ? check_a : "(null)", check_e); \
	} while (0)

#define CHECK_OK(call, error)                                                                       \
	do {                                                                                        \
		int check_r = (call);                                                               \
		if (check_r != 0)                                                                   \
			CHECK_FAIL("%s gave %d: %s", #call, check_r, (error)->text);                \
	} while (0)

#define CHECK_MAIN()                                                                                \
	int main(int argc, char **argv)                                                             \
	{                                                                                           \
		int failures = 0;                                                                   \
		setvbuf(stdout, NULL, _IOLBF, 0);                                                   \
		for (struct check_test *t = check_first; t; t = t->next) {                          \
			if (argc > 1 && !strstr(t->name, argv[1]))                                  \
				continue;                                                           \
			check_failed = 0;                                                           \
			t->run();                                                                   \
			printf("%s %s\n", check_failed ? "FAIL" : "ok", t->name);                   \
			failures += check_failed;                                                   \
		}                                                                                   \
		return failures ? 1 : 0;                                                            \
	}

#endif
