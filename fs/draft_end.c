/*
 * The end of a draft: it was published, or removed.  Its folder gets another name at once and is removed where nobody waits for it; what a killed
 * session left of one is never taken for a draft again.
 */
#include "fs/draft_internal.h"

#include "catalog/base/io.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GONE_SUFFIX ",gone"

static uint64_t tree_bytes(int dir, const char *name)
{
	uint64_t sum = 0;
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		sum += S_ISDIR(st.st_mode) ? tree_bytes(fd, entry->d_name) : S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	}
	if (folder)
		closedir(folder);
	else if (fd >= 0)
		close(fd);
	return sum;
}

uint64_t draft_bytes(const struct draft *d)
{
	return tree_bytes(d->dir, "files");
}

void draft_end_locked(struct draft *d, uint64_t bytes)
{
	char *gone = text_format("%s" GONE_SUFFIX, d->folder);
	d->gone = true;
	d->set->count--;
	drafts_give(d->set, bytes);
	atomic_store(&d->stop, true);
	pthread_cond_broadcast(&d->wake);
	if (gone && !rename(d->folder, gone)) {
		free(d->folder);
		d->folder = gone;
	} else {
		free(gone);
	}
}

void draft_sweep(struct draft *d)
{
	io_remove_tree(d->folder, NULL);
	close(d->lock_fd);
	close(d->dir);
	d->lock_fd = d->dir = -1;
}

bool draft_sweep_left(const struct drafts *ds, const char *name)
{
	char *folder = text_ends(name, GONE_SUFFIX) ? io_join(ds->folder, name) : NULL;
	if (folder)
		io_remove_tree(folder, NULL);
	free(folder);
	return text_ends(name, GONE_SUFFIX);
}

void draft_free(struct draft *d)
{
	if (!d)
		return;
	if (d->dir >= 0)
		close(d->dir);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	map_free(d->due, NULL);
	pthread_cond_destroy(&d->wake);
	free(d->folder);
	free(d);
}

/* Does the kernel know something of it, or is something open? */
static bool is_known_locked(const struct draft *d)
{
	return d->root->lookups || d->root->children || d->root->opens || d->meta->lookups || d->meta->children || d->meta->opens;
}

static void forget_node_locked(struct dnode *n)
{
	map_remove(n->draft->set->by_id, &n->id, sizeof n->id);
	free(n);
}

void drafts_reap_locked(struct drafts *ds)
{
	for (struct draft **at = &ds->list; *at;) {
		struct draft *d = *at;
		if (d->gone && d->fed && d->ended) {
			pthread_join(d->thread, NULL);
			d->fed = false;
		}
		if (!d->gone || d->fed || is_known_locked(d)) {
			at = &d->next;
			continue;
		}
		*at = d->next;
		forget_node_locked(d->root);
		forget_node_locked(d->meta);
		draft_free(d);
	}
}
