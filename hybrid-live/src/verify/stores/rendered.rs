//! What posts are shown as: HTML and preview must follow from the text.

use std::sync::Arc;

use adapters::StoreError;
use adapters::content::{Content, Rendered};
use command_api::rendering::{self, Facts};
use domain::PostId;
use domain::post::Post;
use domain::reference::PostAnswer;
use serde_json::Value;

use crate::verify::compare::{Difference, Rows};
use crate::verify::model::Model;

pub(super) struct Shown(pub(super) Arc<dyn Content>);

/// What is stored, by both ways of reading it, and what it is rendered to now.
pub(super) struct Row {
    expected: Rendered,
    rendered: Rendered,
    preview: Option<String>,
}

impl Rows for Shown {
    type Key = PostId;
    type Row = Row;
    const NAME: &'static str = "rendered posts";
    const SCANNED: bool = false;

    fn expected(&self, model: &Model) -> Vec<PostId> {
        model.reference.posts().map(|answer| answer.post).collect()
    }

    async fn page(&self, _: Option<PostId>) -> Result<Vec<(PostId, Row)>, StoreError> {
        Ok(Vec::new())
    }

    async fn find(&self, model: &Model, post: PostId) -> Result<Option<Row>, StoreError> {
        let Some(answer) = model.reference.post(post) else { return Ok(None) };
        let Some(rendered) = self.0.rendered(post).await? else { return Ok(None) };
        let stored = self.0.previews(&[post]).await?.into_iter().next().flatten();
        let preview = stored.and_then(|stored| stored.preview);
        Ok(Some(Row { expected: expected(&answer)?, rendered, preview }))
    }

    fn difference(&self, model: &Model, post: PostId, row: Option<&Row>) -> Option<Difference> {
        model.reference.post(post)?;
        let Some(Row { expected, rendered: found, preview }) = row else {
            return Some(Difference::new("a rendered post", "nothing"));
        };
        if *preview != found.preview {
            let shown = |preview: &Option<String>| preview.clone().unwrap_or_else(|| "none".to_owned());
            return Some(Difference::new(format!("one preview: {}", shown(&found.preview)), shown(preview)));
        }
        // An older renderer's work is as good as it was; it is done again when the post is edited.
        if found.renderer < expected.renderer && found.preview.is_some() == expected.preview.is_some() {
            return None;
        }
        let is_same = expected.renderer == found.renderer
            && expected.html == found.html
            && parsed(expected.preview.as_ref()) == parsed(found.preview.as_ref());
        (!is_same).then(|| Difference::new(describe(expected), describe(found)))
    }

    fn show(post: PostId) -> String {
        format!("post {post}")
    }
}

/// What the text is rendered to now.
fn expected(answer: &PostAnswer<'_>) -> Result<Rendered, StoreError> {
    let Post::Published { author, visibility, text, edited_at } = answer.state else {
        return Ok(rendering::nothing());
    };
    let facts = Facts {
        post: answer.post,
        author: *author,
        visibility: *visibility,
        edited_at: *edited_at,
        version: answer.sequence,
    };
    rendering::render(facts, text).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// The preview apart from how it is spelled.
fn parsed(preview: Option<&String>) -> Option<Result<Value, &str>> {
    preview.map(|text| serde_json::from_str(text).map_err(|_| text.as_str()))
}

fn describe(rendered: &Rendered) -> String {
    let Rendered { renderer, html, preview } = rendered;
    format!("renderer {renderer}, preview {}, html {html:?}", preview.as_deref().unwrap_or("none"))
}
