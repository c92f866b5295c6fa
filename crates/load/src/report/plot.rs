//! The report as pictures: bars for what units cost, lines for how costs grow; SVG, drawn without any font of the machine.

use std::path::Path;

use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::prelude::{IntoLogRange, LineSeries};
use plotters::style::{Color, IntoFont, RGBColor, WHITE};

use super::Results;
use super::pages::growth_figure;
use crate::failure::Failure;

const COLOURS: [RGBColor; 6] = [
    RGBColor(120, 120, 120),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];
const INK: RGBColor = RGBColor(40, 40, 40);

/// Draws all plots into `folder`; gives the title and file name of each.
///
/// # Errors
///
/// A sentence that names the file which cannot be written.
pub fn draw(results: &Results, folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
    let mut drawn = Vec::new();
    let mut keep = |title: &str, file: String, picture: Option<String>| {
        let Some(picture) = picture else {
            return Ok(());
        };
        let path = folder.join(&file);
        std::fs::write(&path, picture)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        drawn.push((title.to_owned(), file));
        Ok(())
    };
    let bars = bars(results).map_err(|why| Failure::new(format!("drawing the bars: {why}")))?;
    keep(
        "CPU time of the server for one unit",
        "cpu.svg".to_owned(),
        bars,
    )?;
    for axis in results.axes() {
        let lines =
            lines(results, &axis).map_err(|why| Failure::new(format!("drawing {axis}: {why}")))?;
        let name = axis.replace("growth ", "Growth: ");
        keep(&name, format!("{}.svg", axis.replace(' ', "-")), lines)?;
    }
    Ok(drawn)
}

type Drawn = Result<Option<String>, Box<dyn std::error::Error>>;

/// One group of bars a workload, one bar a server, at its first state; the scale is logarithmic, since a floor and a
/// login lie a thousandfold apart.
fn bars(results: &Results) -> Drawn {
    let servers = results.servers();
    let cost = |workload: &str, server: &str| {
        let states = results.states(server);
        let spread = states
            .iter()
            .find_map(|state| results.spread(workload, server, state, "cpu"));
        spread
            .map(|spread| spread.median)
            .filter(|figure| *figure > 0.0)
    };
    let mut workloads = results.workloads();
    workloads.retain(|workload| {
        let measured = servers
            .iter()
            .filter(|server| cost(workload, server).is_some())
            .count();
        measured > 0 && workload != "start" && !workload.starts_with("idle")
    });
    if workloads.is_empty() {
        return Ok(None);
    }
    let all = || {
        workloads
            .iter()
            .flat_map(|workload| servers.iter().filter_map(|server| cost(workload, server)))
    };
    let most = all().fold(1.0, f64::max) * 1.5;
    let least = (all().fold(f64::MAX, f64::min) / 1.5).min(1.0);
    let (height, left) = (60 + workloads.len() * (servers.len() * 9 + 10), 230);
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, (900, u32::try_from(height)?))
            .into_drawing_area();
        area.fill(&WHITE)?;
        let top = 40.0;
        let wide = f64::from(900 - left - 70);
        let along =
            |figure: f64| f64::from(left) + wide * (figure / least).ln() / (most / least).ln();
        let mut decade = 10_f64.powf(least.log10().ceil());
        while decade <= most {
            let x = along(decade) as i32;
            area.draw(&PathElement::new(
                vec![(x, 30), (x, height as i32 - 10)],
                INK.mix(0.2),
            ))?;
            area.draw(&Text::new(
                format!("{decade} µs"),
                (x - 12, 14),
                ("sans-serif", 12).into_font(),
            ))?;
            decade *= 10.0;
        }
        for (place, server) in servers.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            let y = 2 + place as i32 * 12;
            area.draw(&Rectangle::new([(6, y + 2), (16, y + 11)], colour.filled()))?;
            area.draw(&Text::new(
                server.clone(),
                (22, y),
                ("sans-serif", 12).into_font(),
            ))?;
        }
        let top = f64::max(top, 12.0 * servers.len() as f64 + 8.0);
        for (group, workload) in workloads.iter().enumerate() {
            let y = (top + (group * (servers.len() * 9 + 10)) as f64) as i32;
            let middle = y + (servers.len() as i32 * 9) / 2 - 7;
            area.draw(&Text::new(
                workload.clone(),
                (8, middle),
                ("sans-serif", 13).into_font(),
            ))?;
            for (place, server) in servers.iter().enumerate() {
                let Some(figure) = cost(workload, server) else {
                    continue;
                };
                let (from, to) = (y + place as i32 * 9, y + place as i32 * 9 + 7);
                let end = along(figure) as i32;
                let colour = COLOURS[place % COLOURS.len()];
                area.draw(&Rectangle::new([(left, from), (end, to)], colour.filled()))?;
                area.draw(&Text::new(
                    format!("{figure:.1}"),
                    (end + 4, from - 2),
                    ("sans-serif", 10).into_font(),
                ))?;
            }
        }
        area.present()?;
    }
    Ok(Some(picture))
}

/// One line a server: what a unit costs along `axis`.
fn lines(results: &Results, axis: &str) -> Drawn {
    let (figure, called) = growth_figure(axis);
    let servers: Vec<String> = results.servers();
    let lines: Vec<Vec<(f64, f64)>> = servers
        .iter()
        .map(|server| results.line(axis, server, figure))
        .collect();
    let points = || lines.iter().flatten();
    if points().next().is_none() {
        return Ok(None);
    }
    let from = points().map(|(x, _)| *x).fold(f64::MAX, f64::min).max(0.5);
    let to = points()
        .map(|(x, _)| *x)
        .fold(0.0, f64::max)
        .max(from * 2.0);
    let most = points().map(|(_, y)| *y).fold(1.0, f64::max) * 1.15;
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, (700, 400)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d((from..to).log_scale(), 0.0..most)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(axis.trim_start_matches("growth ").to_owned())
            .y_desc(called)
            .draw()?;
        for (place, (server, line)) in servers.iter().zip(&lines).enumerate() {
            if line.is_empty() {
                continue;
            }
            let colour = COLOURS[place % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(
                    line.iter().copied(),
                    colour.stroke_width(2),
                ))?
                .label(server.clone())
                .legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2))
                });
            chart.draw_series(
                line.iter()
                    .map(|point| Circle::new(*point, 3, colour.filled())),
            )?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(INK.mix(0.3))
            .draw()?;
        area.present()?;
    }
    Ok(Some(picture))
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    #[test]
    fn bars_name_servers_workloads_and_figures() {
        let text = [
            line("floor", "fresh", "chat window=1", 6.25, 1.0),
            line("ours", "fresh", "chat window=1", 12.5, 1.0),
            line("ours", "fresh", "login", 250.0, 1.0),
        ]
        .concat();
        let results = Results::read(&text).expect("lines");
        let picture = bars(&results).expect("drawn").expect("something to draw");
        assert!(picture.starts_with("<svg"), "{picture}");
        for word in [
            "floor",
            "ours",
            "chat window=1",
            "login",
            "6.2",
            "12.5",
            "250.0",
            "100 µs",
        ] {
            assert!(picture.contains(word), "{word:?} in\n{picture}");
        }
    }

    #[test]
    fn lines_have_a_legend_and_a_point_each() {
        let point = |server: &str, x: u32, cpu: f64| {
            format!(
                "{{\"server\":\"{server}\",\"workload\":\"growth hosts\",\"server_cpu_us_per_unit\":{cpu},\"figures\":{{\"x\":{x}}}}}\n"
            )
        };
        let text = [
            point("ours", 1, 10.0),
            point("ours", 50, 11.0),
            point("e", 1, 60.0),
        ]
        .concat();
        let results = Results::read(&text).expect("lines");
        let picture = lines(&results, "growth hosts")
            .expect("drawn")
            .expect("something to draw");
        assert_eq!(picture.matches("<circle").count(), 3, "{picture}");
        assert!(picture.contains("ours") && picture.contains("hosts"));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(bars(&Results::default()).expect("no error").is_none());
        assert!(
            lines(&Results::default(), "growth hosts")
                .expect("no error")
                .is_none()
        );
    }
}
