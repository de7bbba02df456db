use std::collections::BTreeMap;
use std::fmt::Write;

use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::{Edge, Graph, Vertex};
use crate::model::Section;

/// Services beyond this number make no picture that anybody could read.
const MOST_DRAWN: usize = 500;

impl Graph {
    /// Draws the graph in DOT, for Graphviz.
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph manifest {\n  rankdir=LR;\n  node [shape=box];\n");
        for (title, section) in
            [("core_services", Section::CoreServices), ("services", Section::Services)]
        {
            let _ = writeln!(out, "  subgraph \"cluster_{title}\" {{\n    label=\"{title}\";");
            for (name, vertex) in self.vertices().iter().filter(|(_, v)| v.section == section) {
                let style = if vertex.enabled { "" } else { " [style=dashed]" };
                let _ = writeln!(out, "    \"{}\"{style};", quoted(name));
            }
            out.push_str("  }\n");
        }
        for edge in self.edges() {
            let (from, to) = (quoted(&edge.from), quoted(&edge.to));
            let style = if edge.orders { "" } else { ", style=dashed" };
            let label = edge.reason.word();
            let _ = writeln!(out, "  \"{from}\" -> \"{to}\" [label=\"{label}\"{style}];");
        }
        out.push_str("}\n");
        out
    }

    /// Draws the graph for Mermaid, which many forges show in Markdown.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let ids: BTreeMap<&str, usize> =
            self.vertices().keys().map(String::as_str).zip(0..).collect();
        let id = |name: &str| format!("s{}", ids.get(name).copied().unwrap_or_default());
        for (title, section) in
            [("core_services", Section::CoreServices), ("services", Section::Services)]
        {
            let _ = writeln!(out, "  subgraph {title}");
            for (name, _) in self.vertices().iter().filter(|(_, v)| v.section == section) {
                let _ = writeln!(out, "    {}[\"{}\"]", id(name), entities(name));
            }
            out.push_str("  end\n");
        }
        for edge in self.edges() {
            let (from, to, label) = (id(&edge.from), id(&edge.to), edge.reason.word());
            let arrow = if edge.orders { "-->" } else { "-.->" };
            let _ = writeln!(out, "  {from} {arrow}|{label}| {to}");
        }
        out
    }

    /// Writes the graph as lines: each service with what it needs, and why.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, vertex) in self.vertices() {
            let state = if vertex.enabled { "" } else { ", disabled" };
            let _ = writeln!(out, "{name} ({}{state})", vertex.section.name());
            for edge in self.edges_of(name) {
                let order = if edge.orders { "" } else { ", does not order" };
                let _ = writeln!(out, "    needs {} ({}{order})", edge.to, edge.reason.words());
            }
        }
        out
    }

    /// Draws the graph as SVG; none when it is too large to be read.
    ///
    /// Edges of the same two services become one, whose label names all reasons.
    pub fn svg(&self) -> Option<String> {
        if self.vertices().is_empty() || self.vertices().len() > MOST_DRAWN {
            return None;
        }
        let mut picture = VisualGraph::new(Orientation::LeftToRight);
        let mut handles = BTreeMap::new();
        for (name, vertex) in self.vertices() {
            handles.insert(name.as_str(), picture.add_node(shape(name, *vertex)));
        }
        for (from, to, label, orders) in self.merged() {
            if let (Some(from), Some(to)) = (handles.get(from), handles.get(to)) {
                picture.add_edge(arrow(&label, orders), *from, *to);
            }
        }
        let mut writer = SVGWriter::new();
        picture.do_it(false, false, false, &mut writer);
        Some(writer.finalize())
    }

    fn merged(&self) -> Vec<(&str, &str, String, bool)> {
        let mut merged: Vec<(&str, &str, String, bool)> = Vec::new();
        let mut edges: Vec<&Edge> = self.edges().iter().filter(|e| e.from != e.to).collect();
        edges.sort_by(|a, b| (&a.from, &a.to, a.reason).cmp(&(&b.from, &b.to, b.reason)));
        for edge in edges {
            match merged.last_mut() {
                Some((from, to, label, orders)) if *from == edge.from && *to == edge.to => {
                    *label = format!("{label}, {}", edge.reason.word());
                    *orders |= edge.orders;
                }
                _ => {
                    let label = edge.reason.word().to_owned();
                    merged.push((&edge.from, &edge.to, label, edge.orders));
                }
            }
        }
        merged
    }
}

fn shape(name: &str, vertex: Vertex) -> Element {
    let fill = match (vertex.enabled, vertex.section) {
        (false, _) => "#eeeeee",
        (true, Section::CoreServices) => "#cfe3ff",
        (true, Section::Services) => "#dff5d8",
    };
    let style = StyleAttr::new(Color::fast("black"), 1, Some(Color::fast(fill)), 3, 15);
    let characters = f64::from(u32::try_from(name.chars().count()).unwrap_or(63).min(80));
    let size = Point::new(24.0 + characters * 9.0, 36.0);
    Element::create(
        ShapeKind::new_box(&name.replace(char::is_control, " ")),
        style,
        Orientation::LeftToRight,
        size,
    )
}

fn arrow(label: &str, orders: bool) -> Arrow {
    let look = StyleAttr::new(Color::fast("black"), 1, None, 0, 12);
    let line = if orders { LineStyleKind::Normal } else { LineStyleKind::Dashed };
    Arrow::new(LineEndKind::None, LineEndKind::Arrow, line, label, &look, &None, &None)
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ")
}

fn entities(text: &str) -> String {
    let special = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(special).collect()
}
