#include "fs/handle.h"

#include "fs/content.h"
#include "fs/draft.h"
#include "fs/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct handle *handle_new(struct session *s, enum handle_kind kind)
{
	struct handle *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->kind = kind;
	h->session = s;
	pthread_mutex_lock(&s->handles_lock);
	h->next = s->handles;
	h->at = &s->handles;
	if (h->next)
		h->next->at = &h->next;
	s->handles = h;
	pthread_mutex_unlock(&s->handles_lock);
	return h;
}

void folder_clear(struct handle *h)
{
	for (size_t i = 0; i < h->item_count; i++)
		free(h->items[i].name);
	free(h->items);
	h->items = NULL;
	h->item_count = 0;
}

int folder_add(struct handle *h, const char *name, enum node_kind kind, uint64_t ino)
{
	if (!(h->item_count & (h->item_count - 1))) {
		size_t room = h->item_count ? h->item_count * 2 : 1;
		struct folder_item *items = realloc(h->items, room * sizeof *items);
		if (!items)
			return -ENOMEM;
		h->items = items;
	}
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	h->items[h->item_count++] = (struct folder_item){ copy, kind, ino };
	return 0;
}

void handle_free(struct handle *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->session->handles_lock);
	*h->at = h->next;
	if (h->next)
		h->next->at = h->at;
	pthread_mutex_unlock(&h->session->handles_lock);
	if (h->record)
		recorder_close_record(h->session->mesh->recorder, h->record, content_fetched_bytes(h->content) - h->fetched_before);
	if (h->dnode)
		draft_close(h);
	buf_free(&h->text);
	if (h->content)
		content_unref(h->content);
	nodes_slot_unref(h->session->nodes, h->slot, 1);
	free(h->path);
	folder_clear(h);
	place_fini(h->session, &h->place);
	free(h);
}

const struct stat *handle_stat(uint64_t number)
{
	struct handle *h = handle_of(number);
	return h && h->kind == HANDLE_FILE ? &h->st : NULL;
}

void handles_sweep(struct session *s)
{
	while (s->handles)
		handle_free(s->handles);
}
