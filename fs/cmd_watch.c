/* watch: tells the moment a version appears or is withdrawn, so that pipelines subscribe instead of polling. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/log.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "fs/browse.h"
#include "fs/browse_policy.h"
#include "fs/commands.h"
#include "fs/domain_command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

struct watch {
	struct browse b;
	struct address address;
	struct version_selector versions; /* when the address has a version: `1` is any of 1.x.y */
	const char *exec;
	bool json, once;
	struct map *known; /* address → "active" or "withdrawn" */
	bool told;         /* an event was told */
	bool *looked;      /* by domain: its catalog was seen before; what it has at the first sight is no event, unless it came since `began` */
	int64_t began_ns;
	bool quiet;   /* the first sight of a domain */
	bool failed;  /* the last command of --exec */
	const atomic_bool *interrupted;
	struct browse_domain *d; /* being looked at */
	const char *product;
	int code;
};

static const char ACTIVE[] = "published", WITHDRAWN[] = "withdrawn";

/* -- an event ------------------------------------------------------------------------------------- */

static void say(const struct watch *w, const char *event, const char *address, const struct version_info *v)
{
	struct buf out = BUF_INIT;
	struct json j;
	char when[CLOCK_TEXT_MAX];
	if (w->json) {
		json_start(&j, &out);
		json_open(&j, '{');
		json_field_text(&j, "event", event);
		json_field_text(&j, "address", address);
		json_field_text(&j, "domain", w->d->config->name);
		json_field_text(&j, "product", w->product);
		json_field_text(&j, "version", v->version);
		json_field_time(&j, "published", v->published_ns);
		json_field_time(&j, "time", clock_now_ns());
		json_close(&j, '}');
	} else {
		clock_format_local(clock_now_ns(), when);
		buf_addf(&out, "%s %s %s", when, event, address);
	}
	printf("%s\n", buf_text(&out));
	fflush(stdout);
	buf_free(&out);
}

/* Waits for the command; whoever ends the watch ends it too, once. */
static void await(const struct watch *w, pid_t pid, int *ret_status)
{
	bool ended = false;
	struct timespec pause = { 0, 1000000 };
	while (!waitpid(pid, ret_status, WNOHANG)) {
		if (atomic_load(w->interrupted) && !ended) {
			kill(pid, SIGTERM);
			ended = true;
		}
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 50000000)
			pause.tv_nsec *= 2;
	}
}

static int run_command(struct watch *w, const char *event, const char *address, struct err *e)
{
	int status = 0;
	pid_t pid = fork();
	if (pid < 0)
		return err_set(e, -errno, "cannot start a process: %s", strerror(errno));
	if (!pid) {
		setenv("MESHFS_EVENT", event, 1);
		setenv("MESHFS_ADDRESS", address, 1);
		execl("/bin/sh", "sh", "-c", w->exec, (char *)NULL);
		_exit(127);
	}
	await(w, pid, &status);
	w->failed = !WIFEXITED(status) || WEXITSTATUS(status);
	if (WIFSIGNALED(status))
		log_warn("%s: the command of --exec was ended by signal %d%s", address, WTERMSIG(status), w->once ? "" : "; watching goes on");
	else if (w->failed)
		log_warn("%s: the command of --exec ended with %d%s", address, WEXITSTATUS(status), w->once ? "" : "; watching goes on");
	return 0;
}

static int see_version(void *arg, const struct version_info *v)
{
	struct watch *w = arg;
	const char *now = v->status == VERSION_WITHDRAWN ? WITHDRAWN : ACTIVE;
	char address[2 * NAME_SIZE + VERSION_SIZE + 2];
	struct err e = ERR_INIT;
	if (*w->address.version && !version_selector_matches(&w->versions, &v->number))
		return 0;
	snprintf(address, sizeof address, "%s/%s/%s", w->d->config->name, w->product, v->version);
	const char *before = map_gets(w->known, address);
	if (before == now || !browse_sees(&w->b, w->d, w->product, v, NULL))
		return 0;
	w->code = map_sets(w->known, address, (void *)now);
	if (w->code || (w->quiet && v->published_ns < w->began_ns))
		return w->code;
	say(w, now, address, v);
	w->told = true;
	if (w->exec && run_command(w, now, address, &e))
		log_error("%s", e.text);
	return w->once || atomic_load(w->interrupted);
}

static int see_product(void *arg, const struct product_info *p)
{
	struct watch *w = arg;
	if (*w->address.product && strcmp(w->address.product, p->name) != 0)
		return 0;
	w->product = p->name;
	int r = snapshot_versions(w->d->snapshot, p->name, see_version, w);
	return r;
}

/* -- looking ---------------------------------------------------------------------------------------- */

static int look(struct watch *w, struct err *e)
{
	for (size_t i = 0; i < w->b.count && !(w->once && w->told) && !atomic_load(w->interrupted); i++) {
		w->d = &w->b.domains[i];
		if (!w->d->snapshot || !browse_sees(&w->b, w->d, NULL, NULL, NULL))
			continue;
		w->quiet = !w->looked[i];
		w->looked[i] = true;
		int r = snapshot_products(w->d->snapshot, see_product, w);
		if (w->code || r < 0)
			return err_set(e, w->code ? w->code : r, "%s: its catalog cannot be read", w->d->config->name);
	}
	return 0;
}

/* Rules may have changed, too: what is hidden by now is not told of. */
static int refresh_policy(struct watch *w, struct err *e)
{
	struct browse_policy *now = NULL;
	int r = browse_policy_open(&w->b, &now, e);
	if (r)
		return r;
	browse_policy_close(w->b.policy);
	w->b.policy = now;
	return 0;
}

static int refresh(struct watch *w, struct err *e)
{
	for (size_t i = 0; i < w->b.count; i++) {
		struct browse_domain *d = &w->b.domains[i];
		struct err why = ERR_INIT;
		bool reached = !domain_refresh(d->domain, NULL, &why);
		if (reached != d->reached)
			log_warn("%s: %s", d->config->name, reached ? "reached again" : why.text);
		d->reached = reached;
		snapshot_unref(d->snapshot);
		d->snapshot = domain_snapshot(d->domain);
	}
	return refresh_policy(w, e);
}

/* Other processes of this host say at once that there is news; other hosts are asked every `refresh`. */
static int subscribe(struct watch *w, struct err *e)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return err_set(e, -errno, "cannot watch folders: %s", strerror(errno));
	for (size_t i = 0; i < w->b.count; i++) {
		const char *cache = NULL, *heads = NULL;
		domain_watch_folders(w->b.domains[i].domain, &cache, &heads);
		if (cache)
			inotify_add_watch(fd, cache, IN_MOVED_TO | IN_CREATE);
		if (heads)
			inotify_add_watch(fd, heads, IN_MOVED_TO | IN_CREATE);
	}
	return fd;
}

static void wait_news(const struct watch *w, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char bytes[4096];
	int64_t timeout = w->b.mesh->refresh_ms;
	poll(&p, 1, timeout > 0 && timeout < 3600000 ? (int)timeout : 5000);
	while (read(fd, bytes, sizeof bytes) > 0) {
	}
}

/* A product may be watched before it is there; a slip of the hand would wait forever. */
static void tell_absent(struct watch *w)
{
	struct product_info p;
	char near[NAME_SIZE];
	const struct address *a = &w->address;
	if (!*a->product || !w->b.count || !w->b.domains[0].snapshot)
		return;
	if (!browse_product(&w->b, &w->b.domains[0], a->product, &p, NULL)) {
		product_info_fini(&p);
		return;
	}
	const bool is_near = browse_nearest(&w->b, &w->b.domains[0], a->product, near);
	log_warn("%s/%s is not there yet, and is waited for%s%s%s", a->domain, a->product, is_near ? " (did you mean '" : "", is_near ? near : "", is_near ? "'?)" : "");
}

static int watch(struct watch *w, struct err *e)
{
	int fd = subscribe(w, e), r = fd < 0 ? fd : 0;
	w->began_ns = clock_now_ns();
	if (!r)
		r = look(w, e);
	if (!r)
		tell_absent(w);
	if (!r)
		log_info("watching; end with Ctrl-C");
	while (!r && !(w->once && w->told) && !atomic_load(w->interrupted)) {
		wait_news(w, fd);
		if (atomic_load(w->interrupted))
			break;
		r = refresh(w, e);
		if (!r)
			r = look(w, e);
	}
	if (fd >= 0)
		close(fd);
	return !r && w->once && w->failed ? err_set(e, -EIO, "the command of --exec failed") : r;
}

int cmd_watch(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct watch w = { .address = { .path = "" } };
	const struct option_spec specs[] = {
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object an event", &w.json },
		{ "--exec", 0, OPTION_TEXT, "CMD", "run CMD (by sh) at each event; it sees MESHFS_EVENT and MESHFS_ADDRESS", &w.exec },
		{ "--once", 0, OPTION_FLAG, NULL, "end after the first event", &w.once },
	};
	int words;
	(void)ret_status;
	int r = options_parse("watch [ADDRESS] [options]", "Tells the moment a version appears or is withdrawn.", specs, sizeof specs / sizeof *specs,
			      false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words > 1)
		return options_wrong(e, "watch", "watch wants one address at most");
	if (words && (r = address_parse(argv[0], &w.address, e)))
		return r;
	if (*w.address.version && version_selector_parse(w.address.version, &w.versions))
		return options_wrong(e, "watch", "%s is no version", w.address.version);
	if (*w.address.path)
		return options_wrong(e, "watch", "a domain, product or version can be watched, not a file");
	r = browse_open(inv, words ? w.address.domain : NULL, &w.b, e);
	if (r)
		return r;
	w.interrupted = interrupt_flag();
	w.known = map_new();
	w.looked = calloc(w.b.count ? w.b.count : 1, sizeof *w.looked);
	r = w.known && w.looked ? watch(&w, e) : err_set(e, -ENOMEM, "out of memory");
	map_free(w.known, NULL);
	free(w.looked);
	browse_close(&w.b);
	return r;
}
