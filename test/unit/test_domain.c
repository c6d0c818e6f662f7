#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/domain.h"
#include "catalog/heads.h"
#include "catalog/snapshot.h"
#include "test/unit/check.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A store in a folder and any number of hosts (cache folders) that use it. */
static char folder[64];
static struct transfer *transfer;
static struct err e;

static void fresh(void)
{
	if (*folder)
		io_remove_tree(folder, NULL);
	strcpy(folder, "/tmp/meshfs-test-domain-XXXXXX");
	if (!mkdtemp(folder) || (!transfer && transfer_start(&(struct transfer_config){ 0 }, &transfer, NULL)))
		abort();
	err_clear(&e);
}

static struct domain *host_with(const char *host, const char *name, bool single_writer, struct transfer *t)
{
	struct domain *d = NULL;
	char *cache = text_format("%s/%s", folder, host), *url = text_format("file://%s/store", folder);
	struct mesh_config mesh = { .cache_folder = cache };
	struct mesh_domain config = { .name = (char *)name, .store = url, .single_writer = single_writer };
	if (domain_open(&mesh, &config, t, &d, &e) || store_prepare(domain_store(d), &e))
		printf("host: %s\n", e.text);
	free(cache);
	free(url);
	return d;
}

static struct domain *host(const char *name)
{
	return host_with(name, "sales", false, transfer);
}

static char *in_store(const char *key)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/store/.mesh/%s", folder, key);
	return path;
}

/* Adds version `number` of product p, as publish would. */
static int add(void *arg, struct snapshot_edit *x, struct err *why)
{
	struct version_info v = { .manifest = { { 1 } }, .manifest_size = 1 };
	if (semver_parse(arg, &v.number))
		abort();
	return snapshot_edit_add_version(x, "p", &v, NULL, why);
}

static int commit(struct domain *d, const char *number, uint64_t *ret)
{
	return domain_commit(d, add, (void *)(uintptr_t)number, ret, &e);
}

static int count(void *arg, const struct version_info *v)
{
	(void)v;
	++*(int *)arg;
	return 0;
}

static int versions(struct domain *d)
{
	int n = 0;
	struct snapshot *s = domain_snapshot(d);
	if (s)
		snapshot_versions(s, "p", count, &n);
	snapshot_unref(s);
	return n;
}

TEST(head_json)
{
	struct head h = { 7, "sales", { { 0xab, 0xcd } }, 4096, 1700000000123456789 }, back;
	struct buf text = BUF_INIT;
	head_format(&h, &text);
	CHECK_OK(head_parse("h", text.data, text.len, &back, &e), &e);
	CHECK(back.generation == 7 && !strcmp(back.domain, "sales") && digest_equal(&back.snapshot, &h.snapshot) && back.size == 4096 &&
	      back.time_ns == h.time_ns);
	buf_free(&text);
#define HASH "abcd000000000000000000000000000000000000000000000000000000000000"
	static const char *const bad[] = {
		"", "[]", "nonsense", "{\"format\":1}", "{\"format\":0,\"domain\":\"sales\",\"generation\":1,\"snapshot\":\"" HASH "\",\"size\":1,\"time_ns\":1}",
		"{\"format\":1,\"domain\":\"../x\",\"generation\":1,\"snapshot\":\"" HASH "\",\"size\":1,\"time_ns\":1}",
		"{\"format\":1,\"domain\":\"sales\",\"generation\":0,\"snapshot\":\"" HASH "\",\"size\":1,\"time_ns\":1}",
		"{\"format\":1,\"domain\":\"sales\",\"generation\":99999999999999999999,\"snapshot\":\"" HASH "\",\"size\":1,\"time_ns\":1}",
		"{\"format\":1,\"domain\":\"sales\",\"generation\":1,\"snapshot\":\"" HASH "00\",\"size\":1,\"time_ns\":1}",
		"{\"format\":1,\"domain\":\"sales\",\"generation\":1,\"snapshot\":\"../../etc/passwd\",\"size\":1,\"time_ns\":1}",
		"{\"format\":1,\"domain\":\"sales\",\"generation\":1,\"snapshot\":\"" HASH "\",\"size\":-1,\"time_ns\":1}",
		"{\"format\":1,\"domain\":\"sales\",\"generation\":1,\"snapshot\":\"" HASH "\",\"size\":99999999999,\"time_ns\":1}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (head_parse("h", bad[i], strlen(bad[i]), &back, &e) != -EBADMSG)
			CHECK_FAIL("taken for a head: %s", bad[i]);
	const char *newer = "{\"format\":2,\"whatever\":true}";
	CHECK_INT(head_parse("h", newer, strlen(newer), &back, &e), -EPROTONOSUPPORT);
}

TEST(empty_store_first_catalog_then_commits)
{
	fresh();
	struct domain *a = host("a"), *b = host("b");
	uint64_t generation;
	bool changed;
	CHECK_INT(domain_refresh(a, NULL, &e), -ENOENT);
	CHECK(domain_snapshot(a) == NULL);
	CHECK_OK(domain_ensure_catalog(a, &e), &e);
	CHECK_OK(domain_ensure_catalog(b, &e), &e);
	CHECK_OK(commit(a, "1.0.0", &generation), &e);
	CHECK_INT(generation, 2);
	CHECK_INT(versions(a), 1);
	CHECK_OK(domain_refresh(b, &changed, &e), &e);
	CHECK(changed);
	CHECK_INT(versions(b), 1);
	CHECK_OK(domain_refresh(b, &changed, &e), &e);
	CHECK(!changed);
	CHECK_INT(commit(b, "1.0.0", NULL), -EEXIST);
	CHECK(strstr(e.text, "published already"));
	CHECK_OK(commit(b, "1.1.0", &generation), &e);
	CHECK_INT(generation, 3);
	CHECK_OK(domain_refresh(a, NULL, &e), &e);
	CHECK_INT(versions(a), 2);
	domain_free(a);
	domain_free(b);
}

static int nothing(void *arg, struct snapshot_edit *x, struct err *why)
{
	(void)x;
	(void)why;
	++*(int *)arg;
	return 1;
}

static int refuse(void *arg, struct snapshot_edit *x, struct err *why)
{
	(void)arg;
	(void)x;
	return err_set(why, -EPERM, "no");
}

TEST(an_edit_may_change_nothing_or_fail)
{
	fresh();
	struct domain *a = host("a");
	uint64_t generation;
	int calls = 0;
	CHECK_OK(commit(a, "1.0.0", &generation), &e);
	CHECK_OK(domain_commit(a, nothing, &calls, &generation, &e), &e);
	CHECK_INT(generation, 1);
	CHECK_INT(calls, 1);
	CHECK_INT(domain_commit(a, refuse, NULL, NULL, &e), -EPERM);
	CHECK_INT(access(in_store("heads/2"), F_OK), -1);
	domain_free(a);
}

/* -- races --------------------------------------------------------------------------------- */

#define RACERS 6
#define EACH 5

static void *race(void *arg)
{
	int *failed = arg;
	char name[16], number[VERSION_SIZE];
	struct err why = ERR_INIT;
	int me = *failed;
	*failed = 0;
	snprintf(name, sizeof name, "racer%d", me);
	struct domain *d = host(name);
	for (int i = 0; i < EACH && !*failed; i++) {
		snprintf(number, sizeof number, "%d.%d.0", me, i);
		if (domain_commit(d, add, number, NULL, &why)) {
			printf("%s: %s\n", name, why.text);
			*failed = 1;
		}
	}
	domain_free(d);
	return NULL;
}

TEST(racing_threads_lose_nothing)
{
	fresh();
	pthread_t threads[RACERS];
	int state[RACERS];
	for (int i = 0; i < RACERS; i++) {
		state[i] = i;
		CHECK_INT(pthread_create(&threads[i], NULL, race, &state[i]), 0);
	}
	for (int i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < RACERS; i++)
		CHECK_INT(state[i], 0);
	struct domain *d = host("reader");
	CHECK_OK(domain_refresh(d, NULL, &e), &e);
	CHECK_INT(versions(d), RACERS * EACH);
	struct snapshot *s = domain_snapshot(d);
	CHECK_INT(snapshot_generation(s), RACERS * EACH);
	snapshot_unref(s);
	domain_free(d);
}

/* Threads that share one struct domain. */
static void *race_shared(void *arg)
{
	static int next;
	char number[VERSION_SIZE];
	int me = __atomic_fetch_add(&next, 1, __ATOMIC_SEQ_CST);
	snprintf(number, sizeof number, "9.%d.0", me);
	struct err why = ERR_INIT;
	return domain_commit(arg, add, number, NULL, &why) ? arg : NULL;
}

TEST(threads_share_a_domain)
{
	fresh();
	struct domain *d = host("a");
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, race_shared, d), 0);
	for (int i = 0; i < 4; i++) {
		void *result;
		pthread_join(threads[i], &result);
		CHECK(result == NULL);
	}
	CHECK_INT(versions(d), 4);
	domain_free(d);
}

/* Processes, one of which is killed again and again in the middle of what it does. */
TEST(a_killed_committer_breaks_nothing)
{
	fresh();
	struct domain *first = host("reader");
	CHECK_OK(commit(first, "1.0.0", NULL), &e);
	for (int round = 0; round < 12; round++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			struct transfer *t;
			char number[VERSION_SIZE];
			if (transfer_start(&(struct transfer_config){ 0 }, &t, NULL))
				_exit(9);
			struct domain *d = host_with("victim", "sales", false, t);
			for (int i = 0;; i++) {
				snprintf(number, sizeof number, "%d.%d.%d", 100 + round, i, (int)getpid());
				if (domain_commit(d, add, number, NULL, &e))
					_exit(1);
			}
		}
		usleep(3000 + (useconds_t)round * 2311);
		kill(pid, SIGKILL);
		int status;
		CHECK_INT(waitpid(pid, &status, 0), pid);
		CHECK(WIFSIGNALED(status));
		CHECK_OK(domain_refresh(first, NULL, &e), &e);
		char number[VERSION_SIZE];
		snprintf(number, sizeof number, "2.%d.0", round);
		CHECK_OK(commit(first, number, NULL), &e);
	}
	struct domain *late = host("late");
	CHECK_OK(domain_refresh(late, NULL, &e), &e);
	CHECK_INT(versions(late), versions(first));
	CHECK(versions(late) >= 13);
	domain_free(first);
	domain_free(late);
}

/* -- bad stores ---------------------------------------------------------------------------- */

TEST(the_hint_may_be_absent_behind_or_nonsense)
{
	fresh();
	struct domain *a = host("a");
	char number[VERSION_SIZE];
	for (int i = 0; i < 21; i++) {
		snprintf(number, sizeof number, "1.%d.0", i);
		CHECK_OK(commit(a, number, NULL), &e);
	}
	domain_free(a);
	static const char *const hints[] = { NULL, "", "nonsense", "{\"format\":1,\"domain\":\"sales\",\"generation\":9007199254740991,\"snapshot\":\"" HASH "\",\"size\":1,\"time_ns\":1}",
					     "{\"format\":1,\"domain\":\"sales\",\"generation\":3,\"snapshot\":\"" HASH "\",\"size\":1,\"time_ns\":1}" };
	for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
		unlink(in_store("HEAD"));
		if (hints[i])
			CHECK_OK(io_write_file(in_store("HEAD"), hints[i], strlen(hints[i]), 0600, &e), &e);
		char name[16];
		snprintf(name, sizeof name, "late%zu", i);
		struct domain *d = host(name);
		CHECK_OK(domain_refresh(d, NULL, &e), &e);
		CHECK_INT(versions(d), 21);
		domain_free(d);
	}
}

TEST(offline_start_serves_what_was_seen)
{
	fresh();
	struct domain *a = host("a");
	CHECK_OK(commit(a, "1.0.0", NULL), &e);
	domain_free(a);
	char here[128], away[128];
	snprintf(here, sizeof here, "%s/store", folder);
	snprintf(away, sizeof away, "%s/away", folder);
	CHECK_INT(rename(here, away), 0);
	struct domain *d = NULL;
	char *cache = text_format("%s/a", folder), *url = text_format("file://%s/store", folder);
	struct mesh_config mesh = { .cache_folder = cache };
	struct mesh_domain config = { .name = (char *)"sales", .store = url };
	CHECK_OK(domain_open(&mesh, &config, transfer, &d, &e), &e);
	CHECK_INT(versions(d), 1);
	CHECK(domain_refresh(d, NULL, &e) < 0);
	CHECK_INT(versions(d), 1);
	domain_free(d);
	free(cache);
	free(url);
}

TEST(a_store_that_goes_backwards_is_told)
{
	fresh();
	struct domain *a = host("a");
	CHECK_OK(commit(a, "1.0.0", NULL), &e);
	CHECK_OK(commit(a, "1.1.0", NULL), &e);
	domain_free(a);
	CHECK_INT(unlink(in_store("heads/2")), 0);
	a = host("a");
	CHECK_INT(domain_refresh(a, NULL, &e), -ESTALE);
	CHECK(strstr(e.text, "went backwards"));
	CHECK_INT(e.kind, ERR_INTEGRITY);
	CHECK_INT(versions(a), 2);
	CHECK_INT(commit(a, "1.2.0", NULL), -ESTALE);
	domain_free(a);
	struct domain *b = host("b"); /* who never saw generation 2 makes another one */
	CHECK_OK(commit(b, "1.5.0", NULL), &e);
	domain_free(b);
	a = host("a");
	CHECK_INT(domain_refresh(a, NULL, &e), -ESTALE);
	CHECK(strstr(e.text, "is not the one"));
	CHECK_INT(versions(a), 2);
	domain_free(a);
}

TEST(another_domains_store_is_refused)
{
	fresh();
	struct domain *a = host("a");
	CHECK_OK(commit(a, "1.0.0", NULL), &e);
	domain_free(a);
	struct domain *d = host_with("b", "health", false, transfer);
	CHECK_INT(domain_refresh(d, NULL, &e), -EBADMSG);
	CHECK(strstr(e.text, "another domain"));
	CHECK_INT(commit(d, "1.0.0", NULL), -EBADMSG);
	domain_free(d);
}

static void damage_snapshots(void)
{
	char command[256];
	snprintf(command, sizeof command, "for f in %s/store/.mesh/snapshots/*; do chmod u+w $f; printf X | dd of=$f bs=1 seek=2000 conv=notrunc 2>/dev/null; done",
		 folder);
	if (system(command))
		abort();
}

TEST(a_damaged_snapshot_in_the_store_is_refused)
{
	fresh();
	struct domain *a = host("a");
	CHECK_OK(commit(a, "1.0.0", NULL), &e);
	damage_snapshots();
	struct domain *b = host("b");
	CHECK_INT(domain_refresh(b, NULL, &e), -EBADMSG);
	CHECK(strstr(e.text, "do not match their hash"));
	CHECK_OK(domain_refresh(a, NULL, &e), &e); /* who has it is not bothered */
	CHECK_INT(versions(a), 1);
	domain_free(a);
	domain_free(b);
}

TEST(a_damaged_cache_is_fetched_again)
{
	fresh();
	struct domain *a = host("a");
	CHECK_OK(commit(a, "1.0.0", NULL), &e);
	char command[256];
	snprintf(command, sizeof command, "for f in %s/a/domains/*/snapshots/*; do printf X | dd of=$f bs=1 seek=2000 conv=notrunc 2>/dev/null; done", folder);
	domain_free(a);
	CHECK_INT(system(command), 0);
	a = host("a");
	CHECK_INT(versions(a), 0);
	CHECK_OK(domain_refresh(a, NULL, &e), &e);
	CHECK_INT(versions(a), 1);
	domain_free(a);
}

TEST(processes_of_a_host_tell_each_other)
{
	fresh();
	struct domain *a = host("shared"), *b = host("shared");
	const char *cache, *heads;
	bool changed;
	struct stat before, after;
	char path[256];
	CHECK_OK(commit(a, "1.0.0", NULL), &e);
	CHECK_OK(domain_refresh(b, &changed, &e), &e);
	CHECK(changed);
	domain_watch_folders(b, &cache, &heads);
	CHECK(heads != NULL);
	CHECK_STR(heads, in_store("heads"));
	snprintf(path, sizeof path, "%s/generation", cache);
	CHECK_INT(stat(path, &before), 0);
	CHECK_INT(before.st_mode & 0777, 0600);
	CHECK_INT(stat(cache, &after), 0);
	CHECK_INT(after.st_mode & 0777, 0700);
	CHECK_OK(commit(a, "1.1.0", NULL), &e);
	CHECK_INT(stat(path, &after), 0);
	CHECK(after.st_ino != before.st_ino);
	CHECK_INT(unlink(in_store("HEAD")), 0);
	CHECK_OK(domain_refresh(b, &changed, &e), &e);
	CHECK(changed);
	CHECK_INT(versions(b), 2);
	domain_free(a);
	domain_free(b);
}

TEST(single_writer_stores)
{
	fresh();
	struct domain *a = host_with("a", "sales", true, transfer);
	uint64_t generation;
	CHECK_OK(commit(a, "1.0.0", &generation), &e);
	CHECK_OK(commit(a, "1.1.0", &generation), &e);
	CHECK_INT(generation, 2);
	struct head h = { 2, "sales", { { 1 } }, 1, 1 };
	CHECK_INT(heads_create(domain_store(a), &h, true, &e), -EEXIST);
	domain_free(a);
	io_remove_tree(folder, NULL);
	transfer_stop(transfer);
}

CHECK_MAIN()
