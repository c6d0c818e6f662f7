#include "fs/handle.h"

#include "fs/content.h"
#include "fs/state.h"

#include <stdlib.h>

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
