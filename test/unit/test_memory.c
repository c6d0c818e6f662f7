/*
 * No memory: the main operations with one allocation after the other failing (the linker puts what stands here in front of malloc and its kin, for
 * the library's own calls; see the Makefile).
 *
 * Each operation is run with its first allocation failing, then its second, and so on until none is left to fail; and again with all from the
 * n-th on.  It must return an error or, where it can do without, the right result; the sanitizers look for the rest.  What threads do
 * beside is counted with it, so the n-th is not always the same one.
 */
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/manifest.h"
#include "catalog/mesh.h"
#include "catalog/publish.h"
#include "catalog/quality.h"
#include "catalog/snapshot.h"
#include "catalog/store/store.h"
#include "fs/content.h"
#include "test/unit/policy_fixture.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* -- allocations that fail ---------------------------------------------------------------------- */

static atomic_long counted, failing_at; /* failing_at 0: none */
static atomic_bool all_from_there, hit, tracing;
static void *trace[24]; /* of the first that failed */
static int traced;
#define TRACE_MAX (int)(sizeof trace / sizeof *trace)

static bool fails(void)
{
	long at = atomic_load_explicit(&failing_at, memory_order_relaxed);
	if (!at)
		return false;
	long n = atomic_fetch_add(&counted, 1) + 1;
	if (n != at && !(n > at && atomic_load(&all_from_there)))
		return false;
	if (!atomic_exchange(&hit, true))
		traced = atomic_load(&tracing) ? backtrace(trace, TRACE_MAX) : 0;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : __real_strndup(s, n);
}

/* Nobody pulls the plug here, and there are thousands of attempts. */
int __wrap_fsync(int fd)
{
	(void)fd;
	return 0;
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	return 0;
}

/* -- attempts ----------------------------------------------------------------------------------- */

#define HANG_S 60
#define ATTEMPTS_MAX 20000
#define BAD_MAX 8

static const char *operation;
static struct err e; /* of the operation under way */

static void hangs(int number)
{
	char text[200];
	(void)number;
	int n = snprintf(text, sizeof text, "%s hangs when allocation %ld fails%s\n", operation, atomic_load(&failing_at), atomic_load(&all_from_there) ? " and all later ones" : "");
	if (write(1, text, (size_t)n) < 0)
		_exit(2);
	abort();
}

/* Runs `op` with its n-th allocation failing.  `op` returns 0 only for the right result. */
static int attempt(int (*op)(void), long n, bool all)
{
	atomic_store(&counted, 0);
	atomic_store(&hit, false);
	atomic_store(&all_from_there, all);
	atomic_store(&failing_at, n);
	alarm(HANG_S);
	int r = op();
	alarm(0);
	atomic_store(&failing_at, 0);
	return r;
}

#define WRONG 1 /* what an operation returns for a result that is neither right nor an error */

/* `others` are codes that may stand for it besides -ENOMEM. */
static void walk(const char *name, int (*op)(void), const int *others, size_t other_count, long step)
{
	const char *say = getenv("MESHFS_TEST_VERBOSE");
	operation = name;
	signal(SIGALRM, hangs);
	for (int all = 0; all < 2; all++) {
		long n = 1;
		int bad = 0;
		int64_t start = clock_mono_ms();
		for (;; n += step) {
			int r = attempt(op, n, all);
			if (!atomic_load(&hit)) {
				CHECK_INT(r, 0);
				break;
			}
			bool known = r == 0 || r == -ENOMEM;
			for (size_t i = 0; i < other_count; i++)
				known |= r == others[i];
			if (!known) {
				printf("%s: allocation %ld fails%s: %d: %s\n", name, n, all ? " and all later ones" : "", r, e.text);
				atomic_store(&tracing, true); /* once more, to say where: most operations do the same again */
				attempt(op, n, all);
				atomic_store(&tracing, false);
				backtrace_symbols_fd(trace, traced, 1);
				bad++;
			}
			if (bad > BAD_MAX)
				break;
			if (n > ATTEMPTS_MAX)
				CHECK_FAIL("%s never ends", name);
		}
		CHECK_INT(bad, 0);
		if (say)
			printf("%s: %ld allocations, %lld ms\n", name, n, (long long)(clock_mono_ms() - start));
	}
}

/* Every allocation with MESHFS_TEST_EVERY=1; else every `step`-th. */
static long every(long step)
{
	return getenv("MESHFS_TEST_EVERY") ? 1 : step;
}

#define WALK(op, step, ...) walk(#op, op, (const int[]){ 0, __VA_ARGS__ }, sizeof((const int[]){ 0, __VA_ARGS__ }) / sizeof(int), every(step))

/* -- contracts and rules -------------------------------------------------------------------------- */

static int parse_contract(void)
{
	struct contract *c = fixture_contract("active");
	if (!c)
		return fixture_error.code;
	const struct contract_object *objects;
	int r = contract_objects(c, &objects) == 2 ? 0 : WRONG;
	contract_unref(c);
	return r;
}

static const char *const rules = PERMIT_ALL
	"filter adults\n  files sales/**\n  rows row.age >= 18 and row.note in {\"yes\", \"no\"}\n"
	"drop names\n  columns named name\n"
	"mask mails\n  columns tagged pii\n  with redact keep length\n  when purpose in {training, research} or user == ben\n";

static int parse_policy(void)
{
	struct policy *p = LOAD(rules);
	if (!p)
		return fixture_error.code;
	int r = policy_rule_count(p) == 4 ? 0 : WRONG;
	policy_unref(p);
	return r;
}

static int publish_to(const char *store, const char *cache);

/* -- a domain ------------------------------------------------------------------------------------ */

static char folder[64];

#define PEOPLE "email,born,age,note,name\na@b.c,1990-01-02,30,yes,Ann\nb@b.c,2015-01-02,9,yes,Ben\nc@b.c,1980-01-02,44,no,Cy\n"
#define SHOWN "email,born,age,note\n*****,1990-01-02,30,yes\n*****,1980-01-02,44,no\n"
static unsigned char big[3 << 20];

static char *in_folder(const char *name)
{
	static char path[200];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void prepare(void)
{
	struct err why = ERR_INIT;
	if (*folder)
		return;
	strcpy(folder, access("/dev/shm", W_OK) ? "/tmp/meshfs-test-memory-XXXXXX" : "/dev/shm/meshfs-test-memory-XXXXXX"); /* SQLite syncs */
	if (!mkdtemp(folder))
		abort();
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (unsigned char)(i * 2654435761u >> 13);
	if (io_write_file(in_folder("people.csv"), PEOPLE, strlen(PEOPLE), 0600, &why) || io_write_file(in_folder("big.bin"), big, sizeof big, 0600, &why) ||
	    io_write_file(in_folder("LICENCE"), "do what you like\n", 17, 0600, &why) ||
	    publish_to("kept", "cache3"))
		abort();
}

static int open_domain(const char *store, const char *cache, struct transfer *t, struct domain **ret)
{
	char url[200], where[200];
	snprintf(url, sizeof url, "file://%s/%s", folder, store);
	snprintf(where, sizeof where, "%s/%s", folder, cache);
	struct mesh_config mesh = { .cache_folder = where };
	struct mesh_domain config = { .name = (char *)"sales", .store = url };
	return domain_open(&mesh, &config, t, ret, &e);
}

static int add_file(struct publication *p, const char *name)
{
	int fd = open(in_folder(name), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		abort();
	int r = publish_add_fd(p, name, fd, name, &e);
	close(fd);
	return r;
}

static int publish_to(const char *store, const char *cache)
{
	struct transfer *t = NULL;
	struct domain *d = NULL;
	struct publication *p = NULL;
	struct publish_result done;
	const struct publish_options o = { .product = "orders", .version = "1.0.0" };
	int r = transfer_start(NULL, &t, &e);
	if (!r)
		r = open_domain(store, cache, t, &d);
	if (!r)
		r = store_prepare(domain_store(d), &e);
	if (!r)
		r = domain_ensure_catalog(d, &e);
	if (!r)
		r = publish_begin(d, &o, &p, &e);
	if (!r)
		r = publish_add_folder(p, "empty", 5, &e);
	if (!r)
		r = publish_add_symlink(p, "link", "people.csv", 10, 5, &e);
	if (!r)
		r = add_file(p, "people.csv");
	if (!r)
		r = add_file(p, "LICENCE");
	if (!r)
		r = add_file(p, "big.bin");
	if (!r)
		r = publish_commit(p, &done, &e);
	if (!r && done.files != 3)
		r = WRONG;
	publish_free(p);
	domain_free(d);
	transfer_stop(t);
	return r;
}

/* What fails leaves a store in which the same publication goes through. */
static int publish_a_folder(void)
{
	static bool broken;
	io_remove_tree(in_folder("store"), NULL);
	io_remove_tree(in_folder("cache"), NULL);
	io_remove_tree(in_folder("cache2"), NULL);
	int r = publish_to("store", "cache");
	long n = atomic_exchange(&failing_at, 0);
	if (r && !broken && publish_to("store", "cache2")) {
		printf("after the failure of allocation %ld: %s\n", n, e.text);
		broken = true;
	}
	return broken ? WRONG : r;
}

/* -- reading ------------------------------------------------------------------------------------- */

struct scene {
	struct transfer *transfer;
	struct domain *domain;
	struct snapshot *snapshot;
	struct version_info version;
	struct manifest *manifest;
	struct reader *reader;
};

static int scene_open(struct scene *s)
{
	*s = (struct scene){ 0 };
	err_clear(&e);
	io_remove_tree(in_folder("reading"), NULL);
	int r = transfer_start(NULL, &s->transfer, &e);
	if (!r)
		r = open_domain("kept", "reading", s->transfer, &s->domain);
	if (!r)
		r = domain_refresh(s->domain, NULL, &e);
	if (!r && !(s->snapshot = domain_snapshot(s->domain)))
		r = -ENOMEM;
	if (!r)
		r = snapshot_version(s->snapshot, "orders", "latest", &s->version);
	if (!r)
		r = domain_manifest(s->domain, "orders", &s->version, &s->manifest, &e);
	return r;
}

static int scene_reader(struct scene *s)
{
	char cache[200];
	snprintf(cache, sizeof cache, "%s/reading/blobs", folder);
	const struct reader_config config = { .cache_folder = cache, .cache_limit_bytes = 1 << 30, .workers = 2, .deadline_ms = 20000 };
	return reader_start(&config, s->transfer, &s->reader, &e);
}

static void scene_close(struct scene *s)
{
	reader_stop(s->reader);
	manifest_unref(s->manifest);
	version_info_fini(&s->version);
	snapshot_unref(s->snapshot);
	domain_free(s->domain);
	transfer_stop(s->transfer);
}

static int count_name(void *arg, const struct manifest_entry *entry, const char *name, size_t len)
{
	(void)entry, (void)name, (void)len;
	++*(int *)arg;
	return 0;
}

static int open_a_version(void)
{
	struct scene s;
	int names = 0;
	int r = scene_open(&s);
	if (!r)
		r = manifest_list(s.manifest, MANIFEST_ROOT, 0, count_name, &names);
	if (!r && names != 5)
		r = WRONG;
	scene_close(&s);
	return r;
}

struct ready {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
	int code;
};

static void on_ready(void *arg, int code, const char *reason)
{
	struct ready *x = arg;
	(void)reason;
	pthread_mutex_lock(&x->lock);
	x->done = true;
	x->code = code;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->lock);
}

static int read_content(struct content *c, const void *want, size_t len)
{
	struct ready x = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
	uint64_t size = 0;
	int r = content_prepare(c, 0, on_ready, &x, NULL);
	if (r)
		return r;
	pthread_mutex_lock(&x.lock);
	while (!x.done)
		pthread_cond_wait(&x.wake, &x.lock);
	pthread_mutex_unlock(&x.lock);
	r = x.code ? x.code : content_size(c, &size);
	char *got = !r ? __real_malloc(len + 1) : NULL;
	if (!r && size != len)
		r = WRONG;
	for (size_t at = 0, n; !r && at < len; at += n) {
		n = len - at < (1 << 20) ? len - at : 1 << 20;
		r = content_read_wait(c, at, got + at, n, &e);
	}
	if (!r && memcmp(got, want, len) != 0)
		r = WRONG;
	free(got);
	return r;
}

static int read_file(struct scene *s, const char *path, struct transform *view, const void *want, size_t len)
{
	struct manifest_entry entry;
	struct content *c = NULL;
	int r = manifest_resolve(s->manifest, path, &entry);
	if (!r)
		r = content_get(s->reader, s->domain, s->manifest, &entry, path, view, &c, &e);
	if (!r)
		r = read_content(c, want, len);
	content_unref(c);
	return r;
}

static int read_files(void)
{
	struct scene s;
	int r = scene_open(&s);
	if (!r)
		r = scene_reader(&s);
	if (!r)
		r = read_file(&s, "people.csv", NULL, PEOPLE, strlen(PEOPLE));
	if (!r)
		r = read_file(&s, "big.bin", NULL, big, sizeof big);
	scene_close(&s);
	return r;
}

static int decide(struct policy *p, struct contract *contract, struct file_decision *ret)
{
	const char *group = "ds";
	struct version_decision *d = NULL;
	const struct subject subject = { .user = "ben", .uid = 1000, .groups = &group, .group_count = 1, .purpose = "training", .host = "h1" };
	const struct version_facts facts = { .domain = "sales", .product = "orders", .version = "1.0.0", .contract = contract, .published_ns = NOW_NS };
	const struct file_facts file = { "people.csv", "csv", strlen(PEOPLE), false };
	int r = policy_decide_version(p, &subject, &facts, NOW_NS, &d, &e);
	if (!r)
		r = version_decision_file(d, &file, ret, &e);
	version_decision_free(d);
	return r;
}

static int read_a_view(void)
{
	struct scene s = { 0 };
	struct file_decision f = { 0 };
	struct contract *contract = fixture_contract("active");
	struct policy *p = contract ? LOAD(rules) : NULL;
	int r = p ? decide(p, contract, &f) : fixture_error.code;
	bool denied = !r && f.outcome != OUTCOME_VIEW;
	if (denied) /* what cannot be evaluated restricts */
		r = f.outcome == OUTCOME_DENY || f.outcome == OUTCOME_HIDE ? -EACCES : WRONG;
	if (!r)
		r = scene_open(&s);
	if (!r)
		r = scene_reader(&s);
	if (!r)
		r = read_file(&s, "people.csv", f.transform, SHOWN, strlen(SHOWN));
	scene_close(&s);
	file_decision_fini(&f);
	policy_unref(p);
	contract_unref(contract);
	return r;
}

/* -- checks ---------------------------------------------------------------------------------------- */

static const char checked_contract[] = "kind: DataContract\napiVersion: v3.1.0\nid: t\nversion: 1.0.0\nstatus: active\nschema:\n- name: t\n  properties:\n"
				       "  - {name: id, logicalType: integer, unique: true, required: true, classification: public}\n"
				       "  - {name: code, logicalType: string, logicalTypeOptions: {pattern: \"[A-Z]+[0-9]*\"}}\n"
				       "  - {name: tags, logicalType: array, logicalTypeOptions: {uniqueItems: true, maxItems: 9}}\n"
				       "  - {name: sizes, logicalType: array, items: {logicalType: string, logicalTypeOptions: {maxLength: 40}}}\n";

/* Nothing is wrong with the data, so that whatever fails does so for want of memory, and must say that. */
static int judge_values(void)
{
	static const char line[] = "{\"id\": %d, \"code\": \"AB%d\", \"tags\": [\"a long enough tag to be copied\", \"b\", %d], \"sizes\": [\"x\\u0041y\", \"large and larger\"]}\n";
	struct contract *c = NULL;
	struct quality *q = NULL;
	struct quality_file *f = NULL;
	struct quality_report *report = NULL;
	char text[256];
	err_clear(&e);
	int r = contract_parse("c.yaml", checked_contract, sizeof checked_contract - 1, &c, &e);
	if (!r)
		r = quality_new(c, NULL, &q, &e);
	if (!r)
		r = quality_file_begin(q, "t.jsonl", &f);
	for (int i = 0; i < 20 && !r; i++) {
		snprintf(text, sizeof text, line, i, i, i);
		r = quality_file_feed(f, text, strlen(text));
	}
	if (f) {
		int ended = quality_file_end(f);
		r = r ? r : ended;
	}
	if (!r)
		r = quality_finish(q, &report, &e);
	if (!r && (quality_report_failed_errors(report) || quality_report_rows(report) != 20))
		r = WRONG;
	quality_report_free(report);
	quality_free(q);
	contract_unref(c);
	return r;
}

/* -- tests ---------------------------------------------------------------------------------------- */

TEST(contract)
{
	CHECK_INT(parse_contract(), 0);
	WALK(parse_contract, 1);
}

TEST(checks)
{
	CHECK_INT(judge_values(), 0);
	WALK(judge_values, 1);
}

TEST(policy)
{
	CHECK_INT(parse_policy(), 0);
	WALK(parse_policy, 1);
}

TEST(publishing)
{
	prepare();
	CHECK_INT(publish_a_folder(), 0);
	WALK(publish_a_folder, 9);
}

TEST(a_version)
{
	prepare();
	CHECK_INT(open_a_version(), 0);
	WALK(open_a_version, 2);
}

TEST(reading)
{
	prepare();
	CHECK_INT(read_files(), 0);
	WALK(read_files, 2, -EIO);
}

TEST(a_view)
{
	prepare();
	CHECK_INT(read_a_view(), 0);
	WALK(read_a_view, 2, -EIO, -EACCES);
	io_remove_tree(folder, NULL);
}

CHECK_MAIN()
