/* lab_setup.c: how an experiment is set up, for its page: its configuration, what its arms set, their
 * curricula, and the command; see lab.h. */
#include "lab/lab.h"
#include "page/page.h"

#include <inttypes.h>
#include <string.h>

/* ---- what is trained ---- */

static void add_comma(hy__text *t) {
    if (t->size) hy__text_put(t, ", ");
}

static void add_sets(hy__text *t, const char *const *set) {
    for (int i = 0; i < HY__LAB_SETS && set[i]; i++) {
        add_comma(t);
        hy__text_add(t, "`%s`", set[i]);
    }
}

static void put_item(hy__page *p, const char *name, hy__text *t) {
    hy__page_item(p, name, "%s", t->size ? t->data : "nothing else");
    p->text.failed |= t->failed;
    hy__text_release(t);
}

static hy_status put_arm(hy__page *p, const hy__lab *lab, const hy__lab_scale *s, int arm,
                         hy_error *err) {
    const hy__arm *a = &s->arm[arm];
    hy__sized made;
    hy__text t = {0};
    HY_TRY(hy__arm_config(lab, s, arm, &made, err));
    add_sets(&t, a->set);
    if (a->fit) {
        add_comma(&t);
        hy__text_add(&t, "`%s=%" PRId64 "` for equal %s", a->fit, made.width,
                     a->flops ? "FLOPs" : "parameters");
    }
    if (a->recipe) {
        add_comma(&t);
        hy__text_put(&t, "a curriculum of its own");
    }
    put_item(p, a->name, &t);
    return HY_OK;
}

static void put_recipe(hy__page *p, const char *whose, const char *recipe) {
    if (!recipe) return;
    hy__page_note(p, "The curriculum of %s:", whose);
    hy__page_code(p, recipe);
}

hy_status hy__lab_put_arms(hy__page *p, const hy__lab *lab, const hy__lab_scale *s, hy_error *err) {
    hy__text all = {0};
    hy__page_heading(p, 2, "Arms");
    hy__page_paragraph(p, "Every arm has this configuration, with what is said of it below in its "
                          "place; the rest is as by default (`hydralm train --help-config`).");
    hy__page_code(p, lab->config);
    hy__page_list(p);
    add_sets(&all, s->set);
    if (all.size) put_item(p, "all", &all);
    for (int a = 0; s->arm[a].name; a++) HY_TRY(put_arm(p, lab, s, a, err));
    hy__page_list_end(p);
    put_recipe(p, "all", s->recipe);
    for (int a = 0; s->arm[a].name; a++) put_recipe(p, s->arm[a].name, s->arm[a].recipe);
    return HY_OK;
}

/* ---- the command ---- */

/* As one word of a shell. */
static void put_word(hy__text *t, const char *word) {
    static const char PLAIN[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:=/+-";
    if (*word && !word[strspn(word, PLAIN)]) {
        hy__text_add(t, " %s", word);
        return;
    }
    hy__text_put(t, " '");
    for (; *word; word++) {
        if (*word == '\'')
            hy__text_put(t, "'\\''");
        else
            hy__text_add(t, "%c", *word);
    }
    hy__text_put(t, "'");
}

hy_status hy__lab_put_command(hy__page *p, const hy__lab *lab, const hy__lab_options *opt,
                              hy_error *err) {
    hy__text t = {0};
    hy__text_add(&t, "hydralm lab %s --%s", lab ? lab->name : "--all",
                 opt->full ? "full" : "quick");
    if (!lab || !lab->run) hy__text_add(&t, " --seeds %" PRId64, opt->seeds);
    hy__text_put(&t, " --out DIR");
    for (int64_t i = 0; i < opt->n_set; i++) {
        hy__text_put(&t, " --set");
        put_word(&t, opt->set[i]);
    }
    for (int64_t i = 0; i < opt->n_text && (!lab || hy__lab_reads_text(lab)); i++) {
        if (i == 0) hy__text_put(&t, " --text");
        put_word(&t, opt->text[i]);
    }
    hy__page_heading(p, 2, "Again");
    const hy_status status = hy__text_check(&t, err);
    if (status == HY_OK) hy__page_code(p, t.data);
    hy__text_release(&t);
    return status;
}
