/* Answers that are held back: at the moments that they were promised for, in any order of arrival, by any number of threads. */
#include "fs/hold.h"

#include "catalog/base/clock.h"
#include "fs/op.h"
#include "test/unit/check.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t resumed[4096], arrived[4096];
static unsigned count;

/* Stand-ins for fs/op.c. */
void op_park(struct op *op)
{
	(void)op;
}

void op_resume(struct op *op)
{
	pthread_mutex_lock(&lock);
	resumed[op->size] = clock_mono_ns();
	count++;
	pthread_mutex_unlock(&lock);
}

static void wait_for_all(unsigned wanted)
{
	for (int i = 0; i < 5000; i++) {
		pthread_mutex_lock(&lock);
		bool done = count == wanted;
		pthread_mutex_unlock(&lock);
		if (done)
			return;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
}

TEST(answers_come_when_they_are_due)
{
	static struct op ops[512];
	struct hold *h = hold_new();
	int64_t now = clock_mono_ns();
	count = 0;
	CHECK(h != NULL);
	for (size_t i = 0; i < 512; i++) { /* some have waited for long, some for a step and a half; none in order */
		ops[i].size = i;
		arrived[i] = now - (int64_t)(i * 7919 % 512) * HOLD_NS / 100;
		hold_until(h, &ops[i], arrived[i]);
	}
	wait_for_all(512);
	CHECK_INT(count, 512);
	for (size_t i = 0; i < 512; i++) {
		CHECK_INT((ops[i].due_ns - arrived[i]) % HOLD_NS, 0);
		CHECK(ops[i].due_ns > arrived[i] && resumed[i] >= ops[i].due_ns);
		CHECK(ops[i].reading);
	}
	hold_free(h);
}

struct burst {
	struct hold *hold;
	size_t first;
	struct op ops[256];
};

static void *hold_many(void *arg)
{
	struct burst *b = arg;
	for (size_t i = 0; i < 256; i++) {
		b->ops[i].size = b->first + i;
		hold_until(b->hold, &b->ops[i], clock_mono_ns());
	}
	return NULL;
}

TEST(many_threads_hold_at_once)
{
	static struct burst bursts[8];
	pthread_t threads[8];
	struct hold *h = hold_new();
	CHECK(h != NULL);
	count = 0;
	for (size_t i = 0; i < 8; i++) {
		bursts[i].hold = h;
		bursts[i].first = i * 256;
		pthread_create(&threads[i], NULL, hold_many, &bursts[i]);
	}
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	wait_for_all(8 * 256);
	CHECK_INT(count, 8 * 256);
	hold_free(h);
	hold_free(NULL);
}

CHECK_MAIN()
